target "app" {
  tags = ["app:hcl"]
  args = { FROM = "hcl" }
}

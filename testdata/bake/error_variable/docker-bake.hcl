variable "VERSION" { default = "1" }
target "app" {
  tags = ["app:${VERSON}"]
}

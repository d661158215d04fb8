target "app" {
  tags = "a"
}

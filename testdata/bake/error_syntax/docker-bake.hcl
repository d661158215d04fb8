target "app" {
  tags = ["a"
}

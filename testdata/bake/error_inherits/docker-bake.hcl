target "base" {}
target "app" {
  inherits = ["bas"]
}

variable "TAG" { default = "two" }
target "app" {
  args = { B = "2" }
}
group "default" { targets = ["app", "more"] }
target "more" {}

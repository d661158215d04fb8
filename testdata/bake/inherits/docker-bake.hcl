target "_common" {
  args = { A = "common", B = "common" }
  labels = { "org.example" = "x" }
  tags = ["common"]
  cache-from = ["user/cache", "type=local,src=/c"]
  platforms = ["linux/amd64", "linux/arm64"]
}
target "_more" {
  args = { B = "more" }
  no-cache-filter = ["one"]
  cache-from = ["user/cache"]
}
target "app" {
  inherits = ["_common", "_more"]
  tags = ["app", "app", ""]
  no-cache-filter = ["two", "one"]
}

group "default" {
  targets = ["web", "db"]
}
target "web" {}
target "dbs" {}

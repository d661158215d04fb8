group "default" { targets = ["web", "db"] }
target "web" { description = "The web" }
target "db" {}
target "_hidden" {}

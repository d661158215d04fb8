group "default" {
  targets = ["db", "webapp"]
}
target "db" {
  tags = ["docker.io/user/db"]
}
target "webapp" {
  dockerfile = "webapp.Dockerfile"
  tags = ["docker.io/user/webapp"]
  args = { version = 1.20, debug = true, empty = "", none = null }
}

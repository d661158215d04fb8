target "app" {
  dockerfile-inline = "FROM scratch"
  tags = ["app"]
  cache-to = ["type=gha,scope=x"]
}

target "app" {
  dockerfile-inline = "FROM scratch"
  entitlements = ["security.insecure"]
}

target "app" {
  dockerfile-inline = "FROM scratch"
  attest = ["type=provenance,mode=max"]
}

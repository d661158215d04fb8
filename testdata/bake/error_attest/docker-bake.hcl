target "app" {
  dockerfile-inline = "FROM scratch"
  attest = ["type=sbom,generator=x"]
}

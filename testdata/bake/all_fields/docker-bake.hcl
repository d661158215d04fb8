target "app" {
  description = "All of it"
  context = "dir"
  dockerfile = "a/Dockerfile"
  annotations = ["index,manifest:org.x=y"]
  args = { A = "${"$"}{B}" }
  labels = { l = "v" }
  tags = ["a:1"]
  cache-from = [{ type = "registry", ref = "r/c" }, "r/d"]
  cache-to = ["type=inline"]
  target = "stage"
  secret = [{ id = "s", src = "file" }, "id=t,env=T", "type=env,id=u,src=U"]
  ssh = ["default", { id = "k", paths = ["/k"] }]
  platforms = ["linux/amd64"]
  output = [{ type = "oci", dest = "out.tar" }, "out"]
  pull = true
  no-cache = "false"
  network = "host"
  no-cache-filter = ["stage"]
  shm-size = "64m"
  ulimits = ["nofile=1:2"]
  call = "check"
  entitlements = ["security.insecure"]
  extra-hosts = { h = "1.2.3.4" }
  attest = [{ type = "provenance", mode = "max" }, "type=sbom,disabled=true"]
}

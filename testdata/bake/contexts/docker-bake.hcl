target "base" {
  dockerfile = "base.Dockerfile"
  output = ["type=docker"]
  tags = ["base"]
}
target "app" {
  context = "./sub/../dir/"
  contexts = {
    base = "target:base"
    alpine = "docker-image://alpine:3.20"
    src = "../src"
    here = BAKE_CMD_CONTEXT
    empty = ""
  }
}

target "app" {
  name = item.tgt
  matrix = {
    item = [{ tgt = "one", port = 1 }, { tgt = "two", port = 2 }]
  }
  args = { PORT = item.port }
}
target "uses" { contexts = { one = "target:one" } }

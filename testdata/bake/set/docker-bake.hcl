target "app-a" {
  tags = ["a"]
  args = { A = "1", B = "2" }
  platforms = ["linux/amd64"]
  secret = ["id=s,src=x"]
  output = ["type=image"]
}
target "app-b" {
  tags = ["b"]
  cache-from = ["c1"]
}

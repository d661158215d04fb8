function "f" {
  params = [x]
  result = f(x)
}
target "app" { tags = [f("a")] }

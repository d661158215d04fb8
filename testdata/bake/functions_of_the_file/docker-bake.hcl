function "tag" {
  params = [name]
  variadic_params = more
  result = [for t in concat(["latest"], more) : "${prefix()}/${name}:${t}"]
}
function "prefix" {
  params = []
  result = "r.example"
}
target "default" {
  tags = tag("app", "1", "2")
}

variable "TARGETS" {
  type = list(object({ name = string, port = number }))
  default = []
}
target "default" {
  matrix = { item = TARGETS }
  name = item.name
  args = { PORT = item.port }
}

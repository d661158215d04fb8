variable "PORTS" {
  type = list(number)
  default = [1]
}
target "app" { args = { P = PORTS[0] } }

variable "TAG" { default = "latest" }
variable "COUNT" { default = 3 }
variable "DEBUG" { default = false }
variable "NONE" {}
variable "NOTHING" { default = null }
variable "LIST" {
  type = list(string)
  default = ["a", "b"]
}
variable "NUMBERS" {
  type = list(number)
}
variable "MAP" {
  type = map(string)
  default = {}
}
variable "OBJECT" {
  type = object({ name = string, port = optional(number) })
  default = { name = "n" }
}
REPO = "user/${TAG}"
target "default" {
  tags = ["${REPO}:${TAG}", "app:${COUNT + 1}"]
  args = {
    DEBUG = DEBUG ? "yes" : "no"
    NONE = "<${NONE}>"
    NOTHING = NOTHING == null ? "null" : NOTHING
    LIST = join(",", LIST)
    SUM = NUMBERS[0] + NUMBERS[1]
    MAP = MAP["k"]
    OBJECT = jsonencode(OBJECT)
  }
}

variable "TAG" {
  default = "latest"
  description = "What the image is called"
}
variable "LIST" {
  type = list(string)
  default = ["a"]
}
variable "NONE" { type = string }

variable "TAG" { default = "a<b" }
variable "ON" { default = true }

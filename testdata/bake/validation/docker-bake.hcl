variable "TAG" {
  default = "x"
  validation {
    condition = TAG != ""
    error_message = "TAG must not be empty"
  }
  validation {
    condition = length(regexall("^v[0-9]+$", TAG)) > 0
    error_message = "TAG is v and a number, and not ${TAG}."
  }
}
target "default" {}

target "webapp" {}

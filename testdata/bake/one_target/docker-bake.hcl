target "app" { tags = ["app"] }

target "app-one" {}
target "app-two" {}
target "other" {}
group "app-all" { targets = ["other"] }

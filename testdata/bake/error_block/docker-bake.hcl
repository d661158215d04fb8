targets "app" {}

target "app" {
  tagss = ["a"]
}

target "app" {
  tags = [uper("a")]
}

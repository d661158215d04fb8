target "app" {
  name = "app-${lib}-${replace(version, ".", "-")}"
  matrix = {
    lib = ["x", "y"]
    version = ["1.0", "2.0"]
  }
  args = { LIB = lib, VERSION = version }
  tags = ["app:${lib}-${version}"]
}

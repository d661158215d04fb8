target "none" { tags = ["n"] }
target "image" { output = ["type=image"] }
target "local" { output = ["out"] }
target "docker" { output = ["type=docker"] }

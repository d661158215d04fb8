target "base" {
  tags = ["base:${VERSION}"]
  args = { V = VERSION }
}
variable "VERSION" { default = "1" }
target "app" {
  tags = [for t in target.base.tags : "app-${t}"]
  args = merge(target.base.args, { OWN = "x" })
  dockerfile = target.base.dockerfile == null ? "none" : target.base.dockerfile
}
group "default" { targets = concat(group.others.targets, ["app"]) }
group "others" { targets = ["base"] }

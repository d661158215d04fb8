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
target "entries" {
  cache-from = ["user/app:cache", "type=local,src=/c"]
  output = ["out"]
  secret = ["id=s,env=E"]
  ssh = ["k=/a"]
}
target "refers" {
  args = {
    A = "${target.entries.cache-from[0].ref} ${target.entries["cache-from"][1].type}"
    B = "${target.entries.output[0].dest} ${target.entries.secret[0].env} ${target.entries.ssh[0].paths[0]}"
  }
}

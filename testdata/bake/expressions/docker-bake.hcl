variable "A" { default = "a" }
target "default" {
  args = {
    conditional = A == "a" ? "yes" : "no"
    arithmetic = (1 + 2) * 3 - 4 / 2 % 2
    logic = !(true && false) || 1 > 2
    compare = "1" == 1 ? "same" : "other"
    negative = -5
    for_list = join(",", [for i, v in ["a", "b"] : "${i}${upper(v)}" if v != "c"])
    for_object = jsonencode({ for k, v in { x = 1, y = 2 } : upper(k) => v * 2 })
    grouped = jsonencode({ for v in ["aa", "ab", "b"] : substr(v, 0, 1) => v... })
    splat = join(",", [{ n = "a" }, { n = "b" }][*].n)
    attribute_splat = join(",", [{ n = "a" }, { n = "b" }].*.n)
    index = ["a", "b"][1]
    legacy = [["a"], ["b"]].1.0
    key = { "k-1" = "v" }["k-1"]
    computed = jsonencode({ (A) = 1, "${A}b" = 2, c = 3 })
    escaped = "$${A} %%{if} \"q\" \u00e9 \t."
    template = "%{ if A == "a" }is a%{ else }is not%{ endif }"
    loop = "%{ for v in ["x", "y"] ~} ${v}; %{ endfor ~}"
    stripped = "a  ${~ "b" ~}  c"
    expanded = max([1, 5, 3]...)
    nested = "${"${A}${A}"}"
  }
  dockerfile-inline = <<-EOT
    FROM scratch
    LABEL a="${A}"
      # indented
    ENV B=$${B}
  EOT
  annotations = [
    <<EOT
  kept=1
EOT
  ]
}

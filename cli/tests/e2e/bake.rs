//! Targets of bake and compose files.

use std::fs;

use serde_json::Value;

use crate::lab::{as_caller, as_each_user, peer};

#[test]
fn targets_are_built_together_and_pushed() {
    as_each_user(&["skopeo"], |lab| {
        let registry = lab.registry.address();
        lab.write(
            "base/Dockerfile",
            "FROM busybox:1\nRUN echo built-base; echo base > /base\nENV FROM_BASE=yes\n",
        );
        lab.write(
            "web/Dockerfile",
            "FROM base\nARG VERSION\nCOPY page /page\nRUN echo \"$FROM_BASE $VERSION\" > /web\n",
        );
        lab.write("web/page", "hello");
        lab.write(
            "docker-bake.hcl",
            format!(
                r#"
variable "VERSION" {{ default = "1" }}
group "default" {{ targets = ["web", "worker"] }}
target "base" {{ context = "base" }}
target "_common" {{
  contexts = {{ base = "target:base" }}
  args = {{ VERSION = VERSION }}
}}
target "web" {{
  inherits = ["_common"]
  context = "web"
  tags = ["{registry}/team/web:${{VERSION}}"]
}}
target "worker" {{
  inherits = ["_common"]
  tags = ["{registry}/team/worker:${{VERSION}}"]
  labels = {{ kind = "worker" }}
  dockerfile-inline = <<-EOT
    FROM busybox:1
    COPY --from=base /base /copied
  EOT
}}
"#
            ),
        );
        let metadata = lab.path("home/metadata.json");
        let words = ["bake", "--push", "--var", "VERSION=2", "--metadata-file", metadata.to_str().unwrap()];
        let said = lab.succeed(&words);
        assert_eq!(said.matches(" built-base\n").count(), 1, "the base is built once:\n{said}");
        assert!(said.contains("[base 2/2] RUN echo") && said.contains("worker: built and pushed"), "{said}");
        let metadata: Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
        for name in ["web", "worker"] {
            let place = format!("docker://{registry}/team/{name}:2");
            let known: Value =
                serde_json::from_str(&peer("skopeo", &["inspect", "--tls-verify=false", &place])).unwrap();
            assert_eq!(known["Digest"], metadata[name]["containerimage.digest"]);
        }
        assert_eq!(lab.answer(&["cat", &format!("{registry}/team/web:2"), "/web"]), "yes 2\n");
        let worker = format!("{registry}/team/worker:2");
        assert_eq!(lab.answer(&["cat", &worker, "/copied"]), "base\n");
        assert_eq!(lab.answer(&["inspect", "-f", "{{.Config.Labels.kind}}", &worker]), "worker\n");
        let again = lab.succeed(&words);
        assert!(again.contains("web: built and pushed") && !again.contains("built-base\n#"), "{again}");
        // Each target leaves a log of its own.
        assert_eq!(lab.answer(&["history", "-q"]).lines().count(), 6);
    });
}

#[test]
fn services_are_targets() {
    as_caller(&[], |lab| {
        lab.write("db/Dockerfile", "FROM busybox:1\nARG SIZE\nRUN echo \"$SIZE\" > /size\n");
        lab.write(".env", "SIZE=large\n");
        lab.write(
            "compose.yaml",
            "services:\n  db:\n    image: db:${TAG:-dev}\n    build:\n      context: ./db\n      args:\n        SIZE:\n  \
             front:\n    image: front\n    build:\n      dockerfile_inline: |\n        FROM data\n        \
             COPY --from=data /size /size\n      additional_contexts:\n        data: service:db\n  cache:\n    image: redis\n",
        );
        lab.succeed(&["bake"]);
        assert_eq!(lab.answer(&["cat", "db:dev", "/size"]), "large\n");
        assert_eq!(lab.answer(&["cat", "front", "/size"]), "large\n");
        let printed: Value = serde_json::from_str(&lab.answer(&["bake", "--print", "front"])).unwrap();
        assert_eq!(printed["target"]["front"]["contexts"]["data"], "target:db");
        assert_eq!(printed["target"]["db"]["output"][0]["type"], "cacheonly");
        assert!(!lab.answer(&["bake", "--list", "targets"]).contains("cache"));
    });
}

#[test]
fn one_failure_stops_the_others() {
    as_caller(&[], |lab| {
        lab.write(
            "docker-bake.json",
            r#"{"group": {"default": {"targets": ["bad", "slow"]}},
                "target": {"bad": {"dockerfile-inline": "FROM busybox:1\nRUN echo why-it-failed; false\n"},
                           "slow": {"dockerfile-inline": "FROM busybox:1\nRUN sleep 600\n", "tags": ["slow"]},
                           "after": {"dockerfile-inline": "FROM bad\n", "contexts": {"bad": "target:bad"}}}}"#,
        );
        let said = lab.fail(1, &["bake", "default", "after"]);
        assert!(said.contains("why-it-failed") && said.contains("it is the target `bad`"), "{said}");
        let said = lab.fail(1, &["bake", "nothing"]);
        assert!(said.contains("there is no target `nothing`"), "{said}");
    });
}

#[test]
fn dockerfiles_of_targets_are_checked() {
    as_caller(&[], |lab| {
        lab.write("good", "FROM scratch\nCOPY good /\n");
        lab.write("doubtful", "from scratch AS x\nCOPY good /\n");
        lab.write(
            "docker-bake.hcl",
            "target \"good\" { dockerfile = \"good\" }\ntarget \"doubtful\" { dockerfile = \"doubtful\" }\n",
        );
        let output = lab.run(&["bake", "--check", "good", "doubtful"]);
        let (told, said) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(told.contains("good\n\n") && told.contains("FromAsCasing"), "{told}");
        assert!(said.contains("it is the target `doubtful`"), "{said}");
        assert!(lab.answer(&["bake", "--call", "targets", "doubtful"]).contains("x (default)"));
        let told = lab.answer(&["bake", "--call", "check,format=json,ignorestatus", "good", "doubtful"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        let warnings = told["target"]["doubtful"]["check"]["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|warning| warning["ruleName"] == "FromAsCasing"), "{told}");
        assert_eq!(told["target"]["good"]["build"]["dockerfile"], "good");
    });
}

//! `rbuild check`: what it prints in its three formats, and its exit status. It needs no registry and no store.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A project directory with a Dockerfile.
struct Project(TempDir);

impl Project {
    fn new(dockerfile: &str) -> Self {
        let directory = TempDir::with_prefix("rbuild-check-").unwrap();
        fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(xtask::subject::under_test(env!("CARGO_BIN_EXE_rbuild")));
        command.args(words).current_dir(self.0.path()).env_clear();
        command.env("HOME", self.0.path()).env("RBUILD_ROOT", self.path("store"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Answer {
        Answer::of(&self.command(words).output().unwrap())
    }

    /// Runs it with something on standard input.
    fn feed(&self, words: &[&str], input: &[u8]) -> Answer {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Answer::of(&child.wait_with_output().unwrap())
    }
}

struct Answer {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let answer =
            Self { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
        assert!(!answer.err.contains("panicked"), "{}", answer.err);
        answer
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

const DOUBTFUL: &str =
    "FROM scratch AS Base\nCOPY a /\nENV API_TOKEN=x \\\n    B=c\nFROM base\nMAINTAINER é me\n";

const BROKEN: &str = "FROM scratch\nRUNN make\nCOPY --form=a b c\nCOPY a\n";

#[test]
fn findings_are_data_and_the_count_is_a_message() {
    let project = Project::new(DOUBTFUL);
    let answer = project.run(&["check", "."]);
    assert_eq!(answer.status, Some(1));
    for rule in ["StageNameCasing", "SecretsUsedInArgOrEnv", "MaintainerDeprecated"] {
        assert!(answer.out.contains(&format!("warning[{rule}]")), "{rule}\n{}", answer.out);
    }
    assert!(answer.out.contains("Dockerfile:1:17"), "{}", answer.out);
    assert!(answer.err.starts_with("error: `Dockerfile` has 3 warnings"), "{}", answer.err);

    fs::write(project.path("Dockerfile"), "FROM scratch\nCOPY a /\n").unwrap();
    let answer = project.run(&["check"]);
    assert_eq!((answer.status, answer.out.as_str()), (Some(0), "`Dockerfile`: nothing found\n"));
    assert!(!project.path("store").exists(), "a check needs no store");
}

#[test]
fn json_has_buildkits_fields_and_more() {
    let project = Project::new(DOUBTFUL);
    for words in [
        &["check", "--format", "json", "."][..],
        &["build", "--call", "check,format=json", "."],
        &["--call=lint,format=json", "."],
    ] {
        let answer = project.run(words);
        assert_eq!(answer.status, Some(1), "{words:?}");
        let value = answer.json();
        let warnings = value["warnings"].as_array().unwrap();
        let place = |rule: &str| {
            let warning = warnings.iter().find(|warning| warning["ruleName"] == rule).unwrap();
            assert_eq!(warning["level"], "warning");
            assert!(
                warning["url"].as_str().unwrap().starts_with("https://docs.docker.com/go/dockerfile/rule/")
            );
            assert!(!warning["description"].as_str().unwrap().is_empty());
            assert!(!warning["detail"].as_str().unwrap().is_empty());
            warning["location"]["ranges"][0].clone()
        };
        let position = |line: u32, column: u32| json!({"line": line, "column": column});
        assert_eq!(place("StageNameCasing"), json!({"start": position(1, 17), "end": position(1, 21)}));
        assert_eq!(place("SecretsUsedInArgOrEnv"), json!({"start": position(3, 5), "end": position(3, 14)}));
        assert_eq!(place("MaintainerDeprecated"), json!({"start": position(6, 1), "end": position(6, 16)}));
        assert_eq!(value["sources"][0]["filename"], "Dockerfile");
        assert_eq!(value.get("buildError"), None);
    }
}

#[test]
fn all_errors_come_out_in_every_format() {
    let project = Project::new(BROKEN);
    let answer = project.run(&["check", "."]);
    assert_eq!(answer.status, Some(1));
    for part in ["did you mean RUN?", "did you mean `--from`?", "at least two arguments"] {
        assert!(answer.out.contains(part), "{part}\n{}", answer.out);
    }
    assert!(answer.err.contains("has 3 errors"), "{}", answer.err);

    let value = project.run(&["check", "--format=json", "."]).json();
    let lines: Vec<u64> = value["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["location"]["ranges"][0]["start"]["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [2, 3, 4]);
    assert_eq!(value["buildError"], value["errors"][0]);
    assert_eq!(value["errors"][0]["help"], "did you mean RUN?");

    let log = project.run(&["check", "--format=sarif", "."]).json();
    sarif(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|result| result["level"] == "error" && result["ruleId"] == "SyntaxError"));
}

#[test]
fn sarif_is_what_the_standard_says() {
    let project = Project::new(DOUBTFUL);
    fs::create_dir(project.path("a b")).unwrap();
    fs::rename(project.path("Dockerfile"), project.path("a b/Dockerfile")).unwrap();
    let answer = project.run(&["check", "--format", "sarif", "a b"]);
    assert_eq!(answer.status, Some(1));
    let log = answer.json();
    sarif(&log);
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "StageNameCasing");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/Dockerfile");
    assert_eq!(place["region"], json!({"startLine": 1, "startColumn": 17, "endLine": 1, "endColumn": 21}));

    fs::write(project.path("a b/Dockerfile"), "FROM scratch\n").unwrap();
    let clean = project.run(&["check", "--format", "sarif", "a b"]);
    assert_eq!(clean.status, Some(0));
    sarif(&clean.json());
    assert_eq!(clean.json()["runs"][0]["results"], json!([]));
}

/// What SARIF 2.1.0 demands of a log (sections 3.13, 3.14, 3.18, 3.19, 3.24, 3.27, 3.29, 3.30, 3.49).
#[track_caller]
fn sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    for run in log["runs"].as_array().unwrap() {
        let driver = &run["tool"]["driver"];
        assert!(driver["name"].is_string());
        let rules = driver["rules"].as_array().unwrap();
        let ids: std::collections::BTreeSet<_> =
            rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), rules.len(), "every rule once");
        for rule in rules {
            assert!(rule["shortDescription"]["text"].is_string());
            level(&rule["defaultConfiguration"]["level"]);
        }
        assert!(["utf16CodeUnits", "unicodeCodePoints"].contains(&run["columnKind"].as_str().unwrap()));
        let artifacts = run["artifacts"].as_array().unwrap();
        for result in run["results"].as_array().unwrap() {
            level(&result["level"]);
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            for location in result["locations"].as_array().unwrap() {
                let place = &location["physicalLocation"];
                let artifact = usize::try_from(place["artifactLocation"]["index"].as_u64().unwrap()).unwrap();
                assert_eq!(artifacts[artifact]["location"]["uri"], place["artifactLocation"]["uri"]);
                let number =
                    |name: &str| place["region"][name].as_u64().filter(|number| *number > 0).unwrap();
                let start = (number("startLine"), number("startColumn"));
                assert!(start <= (number("endLine"), number("endColumn")), "{place}");
            }
        }
    }
}

#[track_caller]
fn level(value: &Value) {
    assert!(["none", "note", "warning", "error"].contains(&value.as_str().unwrap()), "{value}");
}

#[test]
fn controls_decide_what_is_said_and_the_status() {
    let project = Project::new("");
    let secret = "FROM scratch\nENV TOKEN=x\n";
    let clean = "FROM scratch\n";
    let skipped = format!("# check=skip=SecretsUsedInArgOrEnv\n{secret}");
    let as_error = format!("# check=error=true\n{secret}");
    for (dockerfile, words, status, level) in [
        (secret, &[][..], 1, Some("warning")),
        (&skipped, &[], 0, None),
        (&as_error, &[], 1, Some("error")),
        (secret, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all"], 0, None),
        (secret, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true"], 1, Some("error")),
        // The argument stands in place of the line and is not added to it.
        (&skipped, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=false"], 1, Some("warning")),
        ("# check=error=true\nFROM scratch\n", &[], 0, None),
        (clean, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true"], 0, None),
    ] {
        fs::write(project.path("Dockerfile"), dockerfile).unwrap();
        let answer = project.run(&[&["check", "--format=json", "."], words].concat());
        assert_eq!(answer.status, Some(status), "{dockerfile}{words:?}\n{}", answer.out);
        let found = answer.json();
        let found = found["warnings"][0]["level"].as_str();
        assert_eq!(found, level, "{dockerfile}{words:?}");
        let ignored =
            project.run(&[&["build", "--call", "check,format=json,ignorestatus=true", "."], words].concat());
        assert_eq!((ignored.status, ignored.out), (Some(0), answer.out), "{dockerfile}{words:?}");
    }
    let wrong = project.run(&["check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=nonsense", "."]);
    assert_eq!(wrong.status, Some(1));
    assert!(
        wrong.err.contains("BUILDKIT_DOCKERFILE_CHECK") && wrong.err.contains("skip=RULE"),
        "{}",
        wrong.err
    );
}

#[test]
fn a_build_obeys_the_controls() {
    let project = Project::new("# check=error=true\nFROM scratch\nENV TOKEN=x\n");
    let answer = project.run(&["-t", "app:1", "."]);
    assert_eq!(answer.status, Some(1), "{}", answer.err);
    assert!(answer.err.contains("TOKEN") && answer.err.contains("Dockerfile:3"), "{}", answer.err);
    let switched = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "-t", "app:1", "."];
    let answer = project.run(&switched);
    assert_eq!(answer.status, Some(0), "{}", answer.err);
    assert!(!answer.err.contains("TOKEN"), "{}", answer.err);
    // Of a stage that is not built nothing is said.
    fs::write(project.path("Dockerfile"), "FROM scratch AS a\nENV TOKEN=x\nFROM scratch\nENV A=b\n").unwrap();
    let answer = project.run(&["-t", "app:1", "."]);
    assert!(!answer.err.contains("TOKEN"), "{}", answer.err);
    assert!(project.run(&["check"]).out.contains("TOKEN"));
}

#[test]
fn the_dockerfile_may_come_from_standard_input() {
    let project = Project::new("FROM scratch\n");
    for words in [&["check", "-f", "-", "."][..], &["check", "-"]] {
        let answer = project.feed(words, b"FROM scratch\nMAINTAINER x\n");
        assert_eq!(answer.status, Some(1), "{words:?}: {}", answer.err);
        assert!(
            answer.out.contains("MaintainerDeprecated") && answer.out.contains("<stdin>:2"),
            "{}",
            answer.out
        );
    }
}

#[test]
fn what_a_dockerfile_offers_is_listed() {
    let project = Project::new(
        "ARG inherited=box\nARG unused=${inherited}2\n# sfx is a suffix\nARG sfx=\"usy${inherited}\"\n\n\
         FROM b${sfx} AS first\n# BAR is a number\nARG BAR=456\n\n\
         FROM scratch AS third\nARG ABC=a\nARG open\n\n\
         # target defines the target\nFROM third AS target\nCOPY --from=first /a /\n\
         RUN --mount=type=secret,id=key${ABC},required --mount=type=ssh true\n\nFROM scratch\nARG OTHER\n",
    );
    let outline = project
        .run(&["build", "--call", "outline,format=json", "--target", "target", "--build-arg", "BAR=678", "."])
        .json();
    assert_eq!(outline["name"], "target");
    assert_eq!(outline["description"], "defines the target");
    let args: Vec<_> = outline["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| {
            let line = arg["location"]["ranges"][0]["start"]["line"].as_u64().unwrap();
            (arg["name"].as_str().unwrap(), arg["value"].as_str(), arg["description"].as_str(), line)
        })
        .collect();
    assert_eq!(
        args,
        [
            ("inherited", Some("box"), None, 1),
            ("sfx", Some("usybox"), Some("is a suffix"), 4),
            ("BAR", Some("678"), Some("is a number"), 8),
            ("ABC", Some("a"), None, 11),
            ("open", None, None, 12),
        ]
    );
    // The mount's stage inherits the argument of the stage that it is built from.
    assert_eq!(outline["secrets"][0]["name"], "keya");
    assert_eq!(
        (&outline["secrets"][0]["required"], &outline["ssh"][0]["name"]),
        (&json!(true), &json!("default"))
    );

    let text = project.run(&["--call=outline", "--target=target", "."]).out;
    assert!(text.starts_with("TARGET:      target\nDESCRIPTION: defines the target\n\nBUILD ARG"), "{text}");

    let targets = project.run(&["--call", "targets,format=json", "."]).json();
    let list = targets["targets"].as_array().unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!((&list[0]["name"], &list[0]["base"]), (&json!("first"), &json!("b${sfx}")));
    assert_eq!((&list[3]["default"], list[3].get("name")), (&json!(true), None));
    let text = project.run(&["--call", "targets", "."]).out;
    insta::assert_snapshot!(text, @r"
    TARGET      DESCRIPTION
    first       
    third       
    target      defines the target
    (default)
    ");

    let missing = project.run(&["--call", "outline", "--target", "targte", "."]);
    assert_eq!(missing.status, Some(1));
    assert!(missing.err.contains("did you mean `target`?"), "{}", missing.err);
}

#[test]
fn a_build_argument_that_nothing_declares_is_named() {
    let project = Project::new(
        "ARG BASE=scratch\nFROM scratch AS unused\nARG VERSION\nFROM ${BASE}\nONBUILD ARG LATER\nARG TARGETARCH\n",
    );
    for words in [&["-t", "app:1", "."][..], &["check"]] {
        let arguments =
            ["BASE=scratch", "VERSION=1", "LATER=1", "TARGETARCH=x", "HTTP_PROXY=http://x", "no_proxy=x"];
        let silent =
            arguments.iter().chain(&["BUILDKIT_INLINE_CACHE=1", "SOURCE_DATE_EPOCH=1", "TARGETOS=linux"]);
        let mut all = words.to_vec();
        all.extend(silent.flat_map(|argument| ["--build-arg", argument]));
        let answer = project.run(&all);
        assert!(!answer.err.contains("is not used"), "{words:?}\n{}", answer.err);
        let mut wrong = words.to_vec();
        wrong.extend(["--build-arg", "VERSOIN=1", "--build-arg", "NOTHING=1"]);
        let answer = project.run(&wrong);
        for message in
            ["`VERSOIN` is not used; did you mean `VERSION`?", "the build argument `NOTHING` is not used"]
        {
            assert!(answer.err.contains(message), "{words:?}\n{}", answer.err);
        }
    }
}

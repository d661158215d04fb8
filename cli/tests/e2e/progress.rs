//! What is seen of a build: in the logs of services, and afterwards.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, as_caller, as_each_user};

/// Builds with these variables and returns the status and what was written to standard error.
fn seen(lab: &Lab, variables: &[(&str, &str)], words: &[&str]) -> (Option<i32>, String) {
    let output = lab.command(words).envs(variables.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn github_gets_groups_and_annotations() {
    as_each_user(&[], |lab| {
        let top = lab.path("project").display().to_string();
        let github = [("GITHUB_ACTIONS", "true"), ("GITHUB_WORKSPACE", top.as_str())];
        lab.write(
            "app/Dockerfile",
            "FROM busybox:1\nRUN echo one; echo two\nMAINTAINER me\nRUN echo bad >&2; exit 3\n",
        );
        let (status, said) = seen(lab, &github, &["build", "app"]);
        assert_eq!(status, Some(1), "{said}");
        let folded: Vec<&str> = said.lines().skip_while(|line| *line != "::group::#2 output").collect();
        assert!(folded[1].ends_with(" one") && folded[2].ends_with(" two"), "{said}");
        assert_eq!(folded[3], "::endgroup::", "{said}");
        assert!(folded[4].starts_with("#2 DONE"), "{said}");
        assert_eq!(
            said.matches("::group::").count(),
            said.matches("::endgroup::").count(),
            "every group ends: {said}"
        );
        let annotation = said.lines().find(|line| line.starts_with("::error ")).unwrap();
        assert!(annotation.starts_with("::error file=app/Dockerfile,line=4,endLine=4,col=1::"), "{said}");
        assert!(annotation.ends_with("exited with status 3"), "{said}");

        lab.write("app/Dockerfile", "FROM busybox:1\nMAINTAINER me\n");
        let (status, said) = seen(lab, &github, &["build", "app"]);
        let warning = "::warning file=app/Dockerfile,line=2,endLine=2,col=1::";
        assert!(status == Some(0) && said.contains(warning), "{said}");
        let (_, said) = seen(lab, &github, &["push", "missing"]);
        assert!(said.contains("::error::there is no image `missing` here"), "{said}");
        let (_, said) = seen(lab, &[], &["build", "app"]);
        assert!(!said.contains("::"), "{said}");
    });
}

#[test]
fn gitlab_gets_sections() {
    as_each_user(&[], |lab| {
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo one\n");
        let (status, said) = seen(lab, &[("GITLAB_CI", "true")], &["build", "."]);
        assert_eq!(status, Some(0), "{said}");
        for mark in ["\u{1b}[0Ksection_start:", ":rbuild_1\r\u{1b}[0K#2 output\n", "\u{1b}[0Ksection_end:"] {
            assert!(said.contains(mark), "{mark:?}: {said:?}");
        }
    });
}

#[test]
fn what_waited_is_told_afterwards() {
    as_caller(&[], |lab| {
        lab.write(
            "Dockerfile",
            "FROM busybox:1 AS a\nRUN sleep 1\nFROM busybox:1 AS b\nRUN sleep 1; true\n\
             FROM scratch\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n",
        );
        lab.succeed(&["build", "--jobs", "1", "."]);
        let history = lab.answer(&["history", "--format", "json"]);
        let build: Value = serde_json::from_str(&history).unwrap();
        let steps = build["build"]["steps"].as_array().unwrap();
        let waited = steps.iter().filter(|step| step["waited_ms"] != 0).count();
        assert!(waited > 0, "one of two commands waits for the other: {history}");
        let table = lab.answer(&["history"]);
        let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["BUILD", "RESULT", "TIME", "WAITED", "RAN", "CACHED", "NAMES"]);
        lab.succeed(&["report", "-o", "page.html"]);
        let page = fs::read_to_string(lab.path("project/page.html")).unwrap();
        assert_eq!(page.matches("class=\"wait\"").count(), waited, "{page}");
    });
}

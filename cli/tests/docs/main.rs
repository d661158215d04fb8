//! The settings in the documentation can be used as they are printed.

mod recipes;
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use registry_client::HostSettings;
use walkdir::WalkDir;

/// The fenced blocks of a page, each with the word after its fence.
fn blocks(page: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(word)) => open = Some((word.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, block)), None) => *block += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn examples_are_read() {
    let mut read = 0;
    for page in ["mirrors.md", "aliyun.md", "../README.zh.md"] {
        for (word, block) in blocks(page) {
            let mut settings = HostSettings::default();
            let directory = Path::new("/etc/rbuild");
            let result = match word.as_str() {
                "toml" => settings.merge_registries_toml(&block, directory),
                "json" => settings.merge_daemon_json(block.as_bytes()),
                "hosts.toml" => settings.merge_hosts_toml("docker.io", &block, directory),
                "registries.conf" => settings.merge_registries_conf(&block),
                "config.json" => {
                    assert!(serde_json::from_str::<serde_json::Value>(&block).is_ok(), "{page}\n{block}");
                    Ok(())
                }
                "console" | "dockerfile" => continue,
                other => panic!("{page}: a block of an unknown kind `{other}`"),
            };
            result.unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
            read += 1;
        }
    }
    assert!(read >= 18, "{read}");
}

#[test]
fn examples_lead_where_the_text_says() {
    let check = |page: &str, text: &str, image: &str, wanted: &[&str]| {
        let (_, block) = blocks(page)
            .into_iter()
            .find(|(word, block)| word == "toml" && block.contains(text))
            .unwrap_or_else(|| panic!("{page} has no example with {text}"));
        let mut settings = HostSettings::default();
        settings.merge_registries_toml(&block, Path::new("/etc/rbuild")).unwrap();
        assert_eq!(settings.endpoints(&image.parse().unwrap()).unwrap(), wanted, "{page}: {text}");
    };
    let hub = "registry-1.docker.io/library/debian";
    check("mirrors.md", "copies/{flat}", "debian:12", &["registry.example/copies/library-debian", hub]);
    let daocloud = "m.daocloud.io/docker.io/library/debian";
    check("mirrors.md", "m.daocloud.io", "debian:12", &[daocloud, hub]);
    check("mirrors.md", "moved/{name}", "old.example/team/app", &["new.example/moved/app"]);
    let accelerator = "abcd1234.mirror.aliyuncs.com/library/debian";
    check("aliyun.md", "abcd1234", "debian", &[accelerator, daocloud, hub]);
    let vpc = "registry-vpc.cn-hangzhou.aliyuncs.com/my-team/app";
    check("aliyun.md", "upstream = ", "registry.cn-hangzhou.aliyuncs.com/my-team/app", &[vpc]);
}

#[test]
fn programs_are_those_that_the_tests_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/library.md")).unwrap();
    let programs = page.lines().filter(|line| line.starts_with('`') && line.ends_with(".rs`:"));
    let programs: Vec<&str> = programs.map(|line| line.trim_matches(['`', ':'])).collect();
    assert_eq!(programs.len(), 4, "{programs:?}");
    let shown = blocks("library.md").into_iter().filter(|(word, _)| word == "rust");
    for (path, (_, shown)) in programs.iter().zip(shown) {
        let program = fs::read_to_string(root.join(path)).unwrap();
        let body: String = program
            .lines()
            .skip_while(|line| line.starts_with("//!") || line.is_empty())
            .fold(String::new(), |text, line| text + line + "\n");
        assert_eq!(shown, body, "docs/library.md does not show `{path}` as it is");
    }
}

/// The commands of a page without the remarks behind them.
fn commands(page: &str) -> Vec<String> {
    let blocks = blocks(page).into_iter().filter(|(word, _)| word == "console");
    let lines = blocks.flat_map(|(_, block)| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let commands = lines.filter(|line| line.starts_with("$ "));
    commands.map(|line| line.split(" # ").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn both_readmes_say_the_same() {
    let (english, chinese) = (commands("../README.md"), commands("../README.zh.md"));
    // Mirrors come first for readers in China.
    assert_eq!(chinese[0], "$ rbuild mirrors test debian:12");
    assert_eq!(english, chinese[1..]);
    let rows = |page: &str| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page)).unwrap();
        let headings = text.lines().filter(|line| line.starts_with("## ")).count();
        (headings, text.lines().filter(|line| line.starts_with("| ")).count())
    };
    let (headings, table) = rows("README.md");
    assert_eq!(rows("README.zh.md"), (headings + 1, table));
}

#[test]
fn pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let top = ["README.md", "README.zh.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name));
    for page in docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")).chain(top) {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = page.parent().unwrap().join(link);
            assert!(target.exists(), "{} leads to `{link}`, which is not there", page.display());
        }
    }
}

/// Names in the sources of which `before` is the text in front, and that are written in capitals.
fn variables(before: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in ["layer-store", "registry-client", "builder", "cli"] {
        for entry in WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part).join("src")) {
            let entry = entry.unwrap();
            let is_test = entry.path().iter().any(|part| part == "tests" || part == "tests.rs");
            if is_test || entry.path().extension().is_none_or(|kind| kind != "rs") {
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            for (at, _) in text.match_indices(before) {
                let rest = &text[at + before.len()..];
                // A constant stands for a name that is written elsewhere.
                let Some(rest) = rest.strip_prefix('"').or((before == "RBUILD_").then_some(rest)) else {
                    continue;
                };
                let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
                found.insert(format!("{}{}", if before == "RBUILD_" { before } else { "" }, &rest[..end]));
            }
        }
    }
    found.retain(|name| name.len() > 3 && name != "RBUILD_");
    found
}

#[test]
fn every_variable_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    let own = variables("RBUILD_");
    assert!(own.len() >= 6, "{own:?}");
    let read = [
        "environment.text(",
        "environment.path(",
        "environment.exact(",
        "self.path(",
        "self.text(",
        "env::var(",
    ];
    let mut all = own.clone();
    all.extend(read.iter().flat_map(|call| variables(call)));
    for name in &all {
        assert!(page.contains(&format!("`{name}`")), "docs/configuration.md does not tell of `{name}`");
    }
    let told = page.split('`').filter(|word| word.starts_with("RBUILD_"));
    for name in told {
        assert!(own.contains(name), "docs/configuration.md tells of `{name}`, which nothing reads");
    }
}

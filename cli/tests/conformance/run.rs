//! Runs a case: lays out its files, builds it with the rbuild binary, compares.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::registry::Registry;
use xtask::{base_image, mirror};

use crate::case::{Case, Section};
use crate::entry::{Entry, unescape};
use crate::image::Image;
use crate::{archive, base, check, git, http, place};

/// Longer than any case; a build that takes so long hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What all cases share: a registry with the base images, and an HTTP server.
pub(crate) struct Servers {
    root: TempDir,
    registry: Registry,
    daemon_json: PathBuf,
    http: String,
    bases: Mutex<HashSet<String>>,
}

impl Servers {
    /// Starts both. The registry ends with the thread that starts it, so this is the main thread's to do.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let root = TempDir::with_prefix("rbuild-conformance-")?;
        let registry = Registry::start()?;
        base_image::push_busybox(registry.address())?;
        let daemon_json = mirror::daemon_json(root.path(), registry.address())?;
        let http = http::serve(root.path().to_owned())?;
        Ok(Self { root, registry, daemon_json, http, bases: Mutex::default() })
    }
}

/// Runs the case at `path`. An error says what differs.
pub(crate) fn case(path: &Path, id: &str, servers: &Servers) -> Result<(), String> {
    let mut case = Case::read(path)?;
    let build = Build { id, servers, directory: servers.root.path().join(id) };
    build.lay_out(&case)?;
    let said = |why: String| format!("{}\n{}\n{why}", path.display(), case.prose.trim_end());
    let outcome = build.run(&build.arguments(case.one("args"))?, &case).map_err(said)?;
    if outcome.success && std::env::var_os("CONFORMANCE_WRITE").is_some() {
        fill(&mut case, &build, &outcome, path)?;
    }
    let said = |why: String| format!("{}\n{}\n{why}", path.display(), case.prose.trim_end());
    let differences = build.compare(&case, &outcome).map_err(said)?;
    if !differences.is_empty() {
        return Err(said(format!("{}\n{}", differences.join("\n"), outcome.output)));
    }
    build.again(&case).map_err(said)?;
    let _ = fs::remove_dir_all(&build.directory);
    Ok(())
}

fn fill(case: &mut Case, build: &Build<'_>, outcome: &Outcome, path: &Path) -> Result<(), String> {
    let image = Image::read(&outcome.archive)?;
    let mut filled = false;
    for section in case.sections.iter_mut().filter(|section| section.is_open()) {
        section.body = build.generalise(&check::fill(section, &image)?);
        filled = true;
    }
    if filled {
        fs::write(path, case.print()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

struct Build<'a> {
    id: &'a str,
    servers: &'a Servers,
    directory: PathBuf,
}

struct Outcome {
    success: bool,
    output: String,
    archive: PathBuf,
}

impl Build<'_> {
    /// `@DIR@` is the case's folder on the disk, `@HTTP@` the URL of its `http` files.
    fn specialise(&self, text: &str) -> String {
        let http = format!("http://{}/{}", self.servers.http, self.id);
        text.replace("@HTTP@", &http).replace("@DIR@", &self.directory.to_string_lossy())
    }

    fn generalise(&self, text: &str) -> String {
        let http = format!("http://{}/{}", self.servers.http, self.id);
        text.replace(&http, "@HTTP@").replace(&*self.directory.to_string_lossy(), "@DIR@")
    }

    fn lay_out(&self, case: &Case) -> Result<(), String> {
        let io = |error: std::io::Error| error.to_string();
        fs::create_dir_all(self.directory.join("context")).map_err(io)?;
        fs::create_dir_all(self.directory.join("http")).map_err(io)?;
        for section in &case.sections {
            let (head, rest) = section.head.split_once(' ').unwrap_or((&section.head, ""));
            let lines = || section.lines().map(|line| self.specialise(line));
            match head {
                "Dockerfile" => {
                    let text = self.specialise(&section.body);
                    let bytes = match rest {
                        "escaped" => unescape(&text.replace('\n', ""))?,
                        _ => text.into_bytes(),
                    };
                    fs::write(self.directory.join("Dockerfile"), bytes).map_err(io)?;
                }
                "file" => {
                    let mut words = rest.split(' ');
                    let path = words.next().unwrap_or_default();
                    let mode = words.next().map_or(Ok(0o644), |mode| u32::from_str_radix(mode, 8));
                    let mut entry =
                        Entry::new(crate::entry::Kind::File, mode.map_err(|e| e.to_string())?, path);
                    entry.content = Some(self.specialise(&section.body).into_bytes());
                    place::place(&self.directory, &entry)?;
                }
                "context" | "http" => {
                    let name = if rest.is_empty() { head } else { rest };
                    for line in lines() {
                        place::place(&self.directory.join(name), &Entry::parse(&line)?)?;
                    }
                }
                "tar" => {
                    let entries: Result<Vec<Entry>, String> =
                        lines().map(|line| Entry::parse(&line)).collect();
                    let bytes = archive::pack(rest, archive::tar(&entries?)?)?;
                    let path = self.directory.join(rest);
                    fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(io)?;
                    fs::write(path, bytes).map_err(io)?;
                }
                "git" => {
                    let work = self.directory.join("work").join(rest);
                    git::make(section.lines(), &work, &self.directory.join("http").join(rest))?;
                }
                "base" => {
                    let mut bases = self.servers.bases.lock().map_err(|error| error.to_string())?;
                    if !bases.insert(rest.to_owned()) {
                        return Err(format!("two cases make a base `{rest}`"));
                    }
                    base::push(self.servers.registry.address(), rest, section.lines())?;
                }
                "index" => base::push_index(self.servers.registry.address(), rest, section.lines())?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The words of a section, one or more a line; quotes hold a word together. `context=` and `stdin=` are not for
    /// the command line.
    fn arguments(&self, section: Option<&Section>) -> Result<Arguments, String> {
        let mut arguments =
            Arguments { words: Vec::new(), context: self.directory.join("context").into(), stdin: None };
        let mut file = true;
        for line in section.into_iter().flat_map(Section::lines) {
            let line = self.specialise(line);
            if let Some(context) = line.strip_prefix("context=") {
                arguments.context = context.into();
            } else if let Some(stdin) = line.strip_prefix("stdin=") {
                arguments.stdin = Some(stdin.into());
            } else if line == "no -f" {
                file = false;
            } else {
                let (flag, value) = line.split_once(' ').map_or((&*line, None), |(f, v)| (f, Some(v)));
                file &= flag != "-f";
                arguments.words.push(flag.into());
                arguments.words.extend(value.map(Into::into));
            }
        }
        if file {
            arguments.words.push("-f".into());
            arguments.words.push(self.directory.join("Dockerfile").into());
        }
        Ok(arguments)
    }

    fn run(&self, arguments: &Arguments, case: &Case) -> Result<Outcome, String> {
        let io = |error: std::io::Error| error.to_string();
        let archive = self.directory.join("image.tar");
        let _ = fs::remove_file(&archive);
        let program = xtask::subject::under_test(env!("CARGO_BIN_EXE_rbuild"));
        let log = self.directory.join("log");
        let written = File::create(&log).map_err(io)?;
        let stdin = match &arguments.stdin {
            Some(path) => Stdio::from(File::open(path).map_err(|e| format!("{}: {e}", path.display()))?),
            None => Stdio::null(),
        };
        let mut command = Command::new(program);
        command.arg("build").args(["-t", &format!("conformance/{}:1", self.id.to_lowercase())]);
        command.args(&arguments.words);
        command.arg("--output").arg(format!("type=oci,dest={}", archive.display()));
        command.arg(&arguments.context).current_dir(&self.directory);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.directory).env("RBUILD_ROOT", self.directory.join("store"));
        command.env("RBUILD_DAEMON_JSON", &self.servers.daemon_json);
        for line in case.one("env").into_iter().flat_map(Section::lines) {
            let (name, value) = line.split_once('=').ok_or("env has lines of `NAME=VALUE`")?;
            command.env(name, self.specialise(value));
        }
        command.stdin(stdin).stdout(written.try_clone().map_err(io)?).stderr(written);
        let mut child = command.spawn().map_err(io)?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(io)? {
                break status;
            }
            if begun.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                let output = fs::read(&log).map_err(io)?;
                return Err(format!("still running after {LIMIT:?}\n{}", String::from_utf8_lossy(&output)));
            }
            std::thread::sleep(Duration::from_millis(3));
        };
        let output = String::from_utf8_lossy(&fs::read(&log).map_err(io)?).into_owned();
        if status.code() == Some(101) || output.contains("panicked at") {
            return Err(format!("a panic\n{output}"));
        }
        Ok(Outcome { success: status.success(), output, archive })
    }

    fn compare(&self, case: &Case, outcome: &Outcome) -> Result<check::Differences, String> {
        if let Some(section) = case.one("error") {
            if outcome.success {
                return Err(format!("the build should have failed:\n{}{}", section.body, outcome.output));
            }
            let output = outcome.output.to_lowercase();
            let missing =
                section.lines().filter(|line| !output.contains(&self.specialise(line).to_lowercase()));
            return Ok(missing.map(|line| format!("- {line}")).collect());
        }
        if !outcome.success {
            return Err(format!("the build failed:\n{}", outcome.output));
        }
        let image = Image::read(&outcome.archive)?;
        let mut differences = Vec::new();
        for section in &case.sections {
            let found = check::section(section, &self.specialise(&section.body), &image)?;
            if !found.is_empty() {
                differences.push(format!("=== {}", section.head));
                differences.extend(found);
            }
        }
        Ok(differences)
    }

    /// Changes the context and builds again: `=== again` has lines `same N` and `new N` for the diffID of layer N.
    fn again(&self, case: &Case) -> Result<(), String> {
        let Some(section) = case.one("again") else { return Ok(()) };
        let archive = self.directory.join("image.tar");
        let before = Image::read(&archive)?;
        for line in case.one("change").into_iter().flat_map(Section::lines) {
            place::place(&self.directory.join("context"), &Entry::parse(line)?)?;
        }
        let outcome = self.run(&self.arguments(case.one("args again").or(case.one("args")))?, case)?;
        if !outcome.success {
            return Err(format!("the second build failed:\n{}", outcome.output));
        }
        let after = Image::read(&archive)?;
        for line in section.lines() {
            let (word, number) = line.split_once(' ').ok_or("`same N` or `new N`")?;
            let at =
                number.parse::<usize>().ok().and_then(|number| number.checked_sub(1)).ok_or("`same N`")?;
            let ids = |image: &Image| image.config["rootfs"]["diff_ids"][at].clone();
            if (ids(&before) == ids(&after)) != (word == "same") {
                return Err(format!("{line} is not so in the second build\n{}", outcome.output));
            }
        }
        Ok(())
    }
}

struct Arguments {
    words: Vec<OsString>,
    context: OsString,
    stdin: Option<PathBuf>,
}

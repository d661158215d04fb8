//! A Dockerfile's tree as text without places, one line for each thing.

use std::fmt::Write as _;

use builder::dockerfile::{
    CheckControls, Command, CopySource, Diagnostic, Dockerfile, Healthcheck, Heredoc, Instruction,
    InstructionKind, RuleSet, Script, Source, Word,
};

pub(crate) fn tree(dockerfile: &Dockerfile) -> String {
    let mut out = String::new();
    let directives = &dockerfile.directives;
    if let Some(syntax) = &directives.syntax {
        writeln!(out, "syntax {}", syntax.text).unwrap();
    }
    if directives.escape != '\\' {
        writeln!(out, "escape {}", directives.escape).unwrap();
    }
    if let Some(check) = &directives.check {
        writeln!(out, "check {}", controls(check)).unwrap();
    }
    for instruction in &dockerfile.meta_args {
        write_instruction(&mut out, "", instruction);
    }
    for stage in &dockerfile.stages {
        write!(out, "{} stage {} from {:?}", stage.line, stage.index, stage.image.text).unwrap();
        if let Some(name) = &stage.name {
            write!(out, " as {name}").unwrap();
        }
        if let Some(platform) = &stage.platform {
            write!(out, " platform {:?}", platform.text).unwrap();
        }
        if let Some(description) = &stage.description {
            write!(out, " description {description:?}").unwrap();
        }
        if let Some(check) = &stage.check {
            write!(out, " check {}", controls(check)).unwrap();
        }
        writeln!(out, " {:?}", stage.original).unwrap();
        for instruction in &stage.instructions {
            write_instruction(&mut out, "  ", instruction);
        }
    }
    out
}

pub(crate) fn diagnostics(source: &Source, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let (line, column) = source.location(diagnostic.span.start);
        let level = if diagnostic.is_error() { "error" } else { "warning" };
        let code = diagnostic.code.map(|code| format!(" {code}")).unwrap_or_default();
        let mut place = source.slice(diagnostic.span).to_owned();
        if place.chars().count() > 60 {
            place = place.chars().take(60).chain("…".chars()).collect();
        }
        writeln!(out, "{line}:{column} {level}{code}: {} at {place:?}", diagnostic.message).unwrap();
        if let Some(help) = &diagnostic.help {
            writeln!(out, "    {help}").unwrap();
        }
    }
    out
}

fn write_instruction(out: &mut String, indent: &str, instruction: &Instruction) {
    write!(out, "{indent}{} ", instruction.line).unwrap();
    write_kind(out, instruction);
    writeln!(out, " {:?}", instruction.original).unwrap();
    for heredoc in &instruction.heredocs {
        let Heredoc { name, content, expand, chomp, fd, .. } = heredoc;
        writeln!(out, "{indent}  heredoc {name:?} {content:?} expand={expand} chomp={chomp} fd={fd}")
            .unwrap();
    }
    if let Some(check) = &instruction.check {
        writeln!(out, "{indent}  check {}", controls(check)).unwrap();
    }
    if !instruction.empty_continuations.is_empty() {
        writeln!(out, "{indent}  empty continuations: {}", instruction.empty_continuations.len()).unwrap();
    }
}

fn write_kind(out: &mut String, instruction: &Instruction) {
    write!(out, "{}", instruction.kind.name().to_lowercase()).unwrap();
    match &instruction.kind {
        InstructionKind::Arg(declarations) => {
            for declaration in declarations {
                write!(out, " {:?}", declaration.name).unwrap();
                optional(out, "=", declaration.default.as_ref());
                if let Some(description) = &declaration.description {
                    write!(out, " description {description:?}").unwrap();
                }
            }
        }
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            for (key, value) in pairs {
                write!(out, " {:?}={:?}", key.text, value.text).unwrap();
            }
            if instruction.legacy_pairs {
                out.push_str(" legacy");
            }
        }
        InstructionKind::Run(run) => {
            list(out, "mounts", &run.mounts);
            list(out, "devices", &run.devices);
            if let Some(network) = &run.network {
                write!(out, " network={network}").unwrap();
            }
            if let Some(security) = &run.security {
                write!(out, " security={security}").unwrap();
            }
            match run.script(&instruction.heredocs) {
                Script::Shell(text) => write!(out, " shell {text:?}").unwrap(),
                Script::File { name, content } => write!(out, " file {name:?} {content:?}").unwrap(),
                Script::Exec(arguments) => write!(out, " exec {arguments:?}").unwrap(),
            }
        }
        InstructionKind::Copy(copy) => {
            optional(out, " from=", copy.from.as_ref());
            optional(out, " chown=", copy.chown.as_ref());
            optional(out, " chmod=", copy.chmod.as_ref());
            write!(out, " link={} parents={}", copy.link, copy.parents).unwrap();
            list(out, "exclude", &copy.exclude);
            sources(out, &copy.sources, &copy.destination);
        }
        InstructionKind::Add(add) => {
            optional(out, " chown=", add.chown.as_ref());
            optional(out, " chmod=", add.chmod.as_ref());
            optional(out, " checksum=", add.checksum.as_ref());
            write!(out, " link={} keep-git-dir={:?} unpack={:?}", add.link, add.keep_git_dir, add.unpack)
                .unwrap();
            list(out, "exclude", &add.exclude);
            sources(out, &add.sources, &add.destination);
        }
        InstructionKind::Workdir(word) | InstructionKind::User(word) | InstructionKind::StopSignal(word) => {
            write!(out, " {:?}", word.text).unwrap();
        }
        InstructionKind::Volume(words) | InstructionKind::Expose(words) => {
            for word in words {
                write!(out, " {:?}", word.text).unwrap();
            }
        }
        InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command) => write_command(out, command),
        InstructionKind::Healthcheck(Healthcheck::None) => out.push_str(" none"),
        InstructionKind::Healthcheck(Healthcheck::Check(check)) => {
            for (name, duration) in [
                ("interval", check.interval),
                ("timeout", check.timeout),
                ("start-period", check.start_period),
                ("start-interval", check.start_interval),
            ] {
                if let Some(duration) = duration {
                    write!(out, " {name}={duration:?}").unwrap();
                }
            }
            if let Some(retries) = check.retries {
                write!(out, " retries={retries}").unwrap();
            }
            write_command(out, &check.command);
        }
        InstructionKind::Shell(arguments) => write!(out, " {arguments:?}").unwrap(),
        InstructionKind::OnBuild(on_build) => {
            write!(out, " {:?} (", on_build.text).unwrap();
            match &on_build.instruction {
                Some(instruction) => write_kind(out, instruction),
                None => out.push_str("broken"),
            }
            out.push(')');
        }
        InstructionKind::Maintainer(text) => write!(out, " {text:?}").unwrap(),
    }
}

fn write_command(out: &mut String, command: &Command) {
    match command {
        Command::Shell(text) => write!(out, " shell {text:?}").unwrap(),
        Command::Exec(arguments) => write!(out, " exec {arguments:?}").unwrap(),
    }
}

fn sources(out: &mut String, sources: &[CopySource], destination: &Word) {
    for source in sources {
        match source {
            CopySource::Path(word) => write!(out, " {:?}", word.text).unwrap(),
            CopySource::Heredoc(index) => write!(out, " heredoc#{index}").unwrap(),
        }
    }
    write!(out, " -> {:?}", destination.text).unwrap();
}

fn optional(out: &mut String, label: &str, word: Option<&Word>) {
    if let Some(word) = word {
        write!(out, "{label}{:?}", word.text).unwrap();
    }
}

fn list(out: &mut String, label: &str, words: &[Word]) {
    if !words.is_empty() {
        let texts: Vec<_> = words.iter().map(|word| &word.text).collect();
        write!(out, " {label}={texts:?}").unwrap();
    }
}

fn controls(check: &CheckControls) -> String {
    let set = |set: &RuleSet| match set {
        RuleSet::All => "all".to_owned(),
        RuleSet::Named(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(","),
    };
    format!("skip={} experimental={} error={:?}", set(&check.skip), set(&check.experimental), check.error)
}

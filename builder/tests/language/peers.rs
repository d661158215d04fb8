//! Other parsers as oracles, on what they read rightly.
//!
//! `dockerfile-parser` 0.9 knows no heredocs, directives, flags without a value or JSON of `COPY`;
//! `parse-dockerfile` 0.1 gives words unsplit. Both see the instructions, the images and the
//! commands of plain files as we do.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use builder::dockerfile::{
    Command, CopySource, Diagnostic, Dockerfile, Instruction, InstructionKind, Source, parse,
};
use dockerfile_parser as old;
use proptest::prelude::*;

use crate::parse::dockerfiles;

/// One plain instruction for both.
fn plain_instruction() -> impl Strategy<Value = String> {
    let word = "[a-z][a-z0-9_./-]{0,8}";
    let value = "[A-Za-z0-9_./:-]{1,10}";
    prop_oneof![
        ("[A-Z]{1,5}", value).prop_map(|(key, value)| format!("ARG {key}={value}")),
        ("[A-Z]{1,5}", value).prop_map(|(key, value)| format!("ENV {key}={value}")),
        ("[a-z]{1,5}", value).prop_map(|(key, value)| format!("LABEL {key}={value}")),
        (word, word).prop_map(|(a, b)| format!("RUN {a} {b}")),
        (word, word).prop_map(|(a, b)| format!("RUN {a} && \\\n    {b}")),
        (word, word).prop_map(|(a, b)| format!("RUN [\"{a}\", \"{b}\"]")),
        (word, word).prop_map(|(a, b)| format!("CMD [\"{a}\", \"{b}\"]")),
        (word, word).prop_map(|(a, b)| format!("ENTRYPOINT {a} {b}")),
        (word, word, word).prop_map(|(a, b, c)| format!("COPY {a} {b} /{c}/")),
        (word, word).prop_map(|(a, b)| format!("COPY --from={a} /{b} /x")),
    ]
}

fn plain_file() -> impl Strategy<Value = String> {
    let stage = (
        "[a-z]{1,6}(:[a-z0-9]{1,4})?",
        prop::option::of("[a-z]{1,6}"),
        prop::collection::vec(plain_instruction(), 0..6),
    );
    prop::collection::vec(stage, 1..4).prop_map(|stages| {
        let mut text = String::new();
        for (index, (image, name, instructions)) in stages.iter().enumerate() {
            let name = name.as_ref().map(|name| format!(" AS {name}{index}")).unwrap_or_default();
            text += &format!("FROM {image}{name}\n");
            for instruction in instructions {
                text += instruction;
                text += "\n\n# a comment\n";
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn dockerfile_parser_agrees_on_plain_files(text in plain_file()) {
        let peer = old::Dockerfile::from_str(&text).unwrap();
        let theirs: Vec<_> = peer.instructions.iter().map(describe_old).collect();
        let (dockerfile, diagnostics) = parse(&Source::new("Dockerfile", text.as_str()));
        prop_assert!(!diagnostics.iter().any(Diagnostic::is_error), "{diagnostics:?}");
        prop_assert_eq!(describe(&dockerfile), theirs, "{}", text);
    }

    #[test]
    fn parse_dockerfile_agrees_on_plain_files(text in plain_file()) {
        let peer = parse_dockerfile::parse(&text).unwrap();
        let theirs: Vec<_> = peer.instructions.iter().map(keyword_of_peer).collect();
        let (dockerfile, _) = parse(&Source::new("Dockerfile", text.as_str()));
        prop_assert_eq!(keywords(&dockerfile), theirs, "{}", text);
    }
}

/// All Dockerfiles that there are: the project's cases of the parser, of the lint and of conformance, and BuildKit's own.
/// Each is named by its folder and file.
fn all_files() -> Vec<(String, String)> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    let mut files = Vec::new();
    for folder in ["parse/ok", "lint"] {
        for file in dockerfiles(folder) {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(&file).unwrap()));
        }
    }
    for case in crate::corpora::cases("dockerfile-parser/positive") {
        let name = format!("corpus/{}", case.file_name().unwrap().to_string_lossy());
        files.push((name, fs::read_to_string(case.join("Dockerfile")).unwrap()));
    }
    for folder in fs::read_dir(testdata.join("conformance")).unwrap().map(Result::unwrap) {
        let folder = folder.path();
        for case in folder.is_dir().then(|| fs::read_dir(&folder).unwrap()).into_iter().flatten() {
            let case = case.unwrap().path();
            let text = fs::read_to_string(&case).unwrap();
            let Some((_, rest)) = text.split_once("=== Dockerfile\n") else { continue };
            let dockerfile = rest.split("\n=== ").next().unwrap_or_default();
            let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
            files.push((format!("{}/{}", name(&folder), name(&case)), format!("{dockerfile}\n")));
        }
    }
    files
}

/// Where we and a peer both accept a file, it sees the same keywords in the same order, and the same images, but for
/// those whose reason stands below.
#[test]
fn peers_agree_on_every_file_but_for_known_ones() {
    let (mut agreed, mut wrong) = ([0; 2], Vec::new());
    for (name, text) in all_files() {
        let (dockerfile, diagnostics) = parse(&Source::new("Dockerfile", text.as_str()));
        if diagnostics.iter().any(Diagnostic::is_error) {
            continue;
        }
        let newer = parse_dockerfile::parse(&text).ok();
        let newer = newer.map(|file| file.instructions.iter().map(keyword_of_peer).collect::<Vec<_>>());
        let older = old::Dockerfile::from_str(&text).ok();
        let older = older.map(|file| file.instructions.iter().map(line_of_old).collect::<Vec<_>>());
        let ours = [keywords(&dockerfile), lines_of(&dockerfile)];
        for (peer, theirs, known) in [(0, newer, PARSE_DOCKERFILE), (1, older, DOCKERFILE_PARSER)] {
            let known = known.iter().any(|(case, _)| *case == name);
            match theirs {
                Some(theirs) if (ours[peer] == theirs) == known => {
                    wrong.push(format!("{name} {peer}: {theirs:?}\n  ours {:?}", ours[peer]));
                }
                Some(_) => agreed[peer] += usize::from(!known),
                None if known => wrong.push(format!("{name} {peer}: refused, not read otherwise")),
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(agreed[0] >= 200 && agreed[1] >= 150, "compared {agreed:?} files");
}

/// Accepted by parse-dockerfile 0.1.9 and read otherwise.
const PARSE_DOCKERFILE: &[(&str, &str)] = &[
    ("continuation_three_escapes", "an escaped escape character continues the line"),
    ("continuation_two_escapes", "an escaped escape character continues the line"),
    ("corpus/trailing-backslash", "an instruction behind a last escape character is lost"),
];

/// Accepted by dockerfile-parser 0.9.0 and read otherwise.
const DOCKERFILE_PARSER: &[(&str, &str)] = &[
    ("continuation_three_escapes", "an escaped escape character continues the line"),
    ("continuation_two_escapes", "an escaped escape character continues the line"),
    ("from_variables", "a quoted image is empty"),
    ("heredoc/copy_into_directory", "the lines of a heredoc are instructions"),
    ("heredoc_add", "the lines of a heredoc are instructions"),
];

fn keywords(dockerfile: &Dockerfile) -> Vec<String> {
    let name = |instruction: &Instruction| instruction.kind.name().to_owned();
    let mut names: Vec<_> = dockerfile.meta_args.iter().map(name).collect();
    for stage in &dockerfile.stages {
        names.push("FROM".to_owned());
        names.extend(stage.instructions.iter().map(name));
    }
    names
}

fn keyword_of_peer(instruction: &parse_dockerfile::Instruction<'_>) -> String {
    // The variants are named after the keywords.
    let debug = format!("{instruction:?}");
    debug.split(['(', ' ']).next().unwrap_or_default().to_uppercase()
}

/// A keyword, and what a FROM starts from.
fn line_of_old(instruction: &old::Instruction) -> String {
    let line = describe_old(instruction);
    let keyword = line.split(' ').next().unwrap_or_default().to_uppercase();
    match instruction {
        old::Instruction::From(from) => format!("{keyword} {}", from.image.content),
        _ => keyword,
    }
}

fn lines_of(dockerfile: &Dockerfile) -> Vec<String> {
    let name = |instruction: &Instruction| instruction.kind.name().to_owned();
    let mut lines: Vec<_> = dockerfile.meta_args.iter().map(name).collect();
    for stage in &dockerfile.stages {
        lines.push(format!("FROM {}", stage.image));
        lines.extend(stage.instructions.iter().map(name));
    }
    lines
}

fn describe(dockerfile: &Dockerfile) -> Vec<String> {
    let mut lines: Vec<_> = dockerfile.meta_args.iter().map(describe_instruction).collect();
    for stage in &dockerfile.stages {
        let name = stage.name.as_ref().map(|name| name.as_str().to_owned());
        lines.push(format!("FROM {} {name:?}", stage.image.text));
        lines.extend(stage.instructions.iter().map(describe_instruction));
    }
    lines
}

fn describe_instruction(instruction: &Instruction) -> String {
    let command = |command: &Command| match command {
        Command::Shell(text) => format!("{:?}", text.split_whitespace().collect::<Vec<_>>()),
        Command::Exec(arguments) => format!("exec {arguments:?}"),
    };
    match &instruction.kind {
        InstructionKind::Arg(args) => {
            format!("ARG {} {:?}", args[0].name, args[0].default.as_ref().map(|word| &word.text))
        }
        InstructionKind::Env(pairs) => format!("ENV {} {}", pairs[0].0, pairs[0].1),
        InstructionKind::Label(pairs) => format!("LABEL {} {}", pairs[0].0, pairs[0].1),
        InstructionKind::Run(run) => format!("RUN {}", command(&run.command)),
        InstructionKind::Cmd(cmd) => format!("CMD {}", command(cmd)),
        InstructionKind::Entrypoint(entrypoint) => format!("ENTRYPOINT {}", command(entrypoint)),
        InstructionKind::Copy(copy) => {
            let sources = copy.sources.iter().map(|source| match source {
                CopySource::Path(word) => word.text.as_str(),
                CopySource::Heredoc(_) => "heredoc",
            });
            let from = copy.from.as_ref().map(|word| &word.text);
            format!("COPY {from:?} {:?} {}", sources.collect::<Vec<_>>(), copy.destination)
        }
        other => other.name().to_owned(),
    }
}

fn describe_old(instruction: &old::Instruction) -> String {
    let command = |command: &old::ShellOrExecExpr| match command {
        old::ShellOrExecExpr::Shell(text) => {
            format!("{:?}", text.to_string().split_whitespace().collect::<Vec<_>>())
        }
        old::ShellOrExecExpr::Exec(list) => {
            let arguments: Vec<_> = list.elements.iter().map(|element| &element.content).collect();
            format!("exec {arguments:?}")
        }
    };
    match instruction {
        old::Instruction::From(from) => {
            let name = from.alias.as_ref().map(|alias| alias.content.clone());
            format!("FROM {} {name:?}", from.image.content)
        }
        old::Instruction::Arg(arg) => {
            format!("ARG {} {:?}", arg.name.content, arg.value.as_ref().map(|value| &value.content))
        }
        old::Instruction::Env(env) => format!("ENV {} {}", env.vars[0].key.content, env.vars[0].value),
        old::Instruction::Label(label) => {
            format!("LABEL {} {}", label.labels[0].name.content, label.labels[0].value.content)
        }
        old::Instruction::Run(run) => format!("RUN {}", command(&run.expr)),
        old::Instruction::Cmd(cmd) => format!("CMD {}", command(&cmd.expr)),
        old::Instruction::Entrypoint(entrypoint) => format!("ENTRYPOINT {}", command(&entrypoint.expr)),
        old::Instruction::Copy(copy) => {
            let from =
                copy.flags.iter().find(|flag| flag.name.content == "from").map(|flag| &flag.value.content);
            let sources: Vec<_> = copy.sources.iter().map(|source| &source.content).collect();
            format!("COPY {from:?} {sources:?} {}", copy.destination.content)
        }
        old::Instruction::Misc(misc) => misc.instruction.content.clone(),
    }
}

//! Files of 1 MB that nobody would write: each is parsed, linted and reported in about the time of an ordinary file of
//! that length. What is quadratic in any of them takes minutes, and what nests without a bound ends the process.

use std::fmt::Write as _;
use std::fs;

use builder::dockerfile::lint::{LintContext, lint};
use builder::dockerfile::{Source, parse, parse_trigger};

const SIZE: usize = 1_000_000;

/// Seconds on a processor that one file may take: debug builds need one or two at most. It is not the clock's time, so
/// that a busy machine changes nothing.
const BOUND: f64 = 30.0;

/// Repeats what `line` writes until a file is long enough.
fn lines(head: &str, line: impl Fn(&mut String, usize)) -> String {
    let mut text = head.to_owned();
    let mut count = 0;
    while text.len() < SIZE {
        line(&mut text, count);
        count += 1;
    }
    text
}

/// Repeats a line, with its number for `@`.
fn each(head: &str, line: &str) -> String {
    lines(head, |text, i| text.push_str(&line.replace('@', &i.to_string())))
}

/// Variables that double each other, and then are used.
fn doubling(keyword: &str, head: &str) -> String {
    let mut text = format!("{head}{keyword} a0=0123456789abcdef\n");
    for i in 1..28 {
        writeln!(text, "{keyword} a{i}=$a{}$a{}", i - 1, i - 1).unwrap();
    }
    each(&text, &format!("{keyword} b@=$a18\n"))
}

fn shapes() -> Vec<(&'static str, String)> {
    let stage = "FROM scratch\n";
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{stage}ENV x={}{}\n", open.repeat(depth), close.repeat(depth))
    };
    let heredocs = |keyword: &str, end: &str| {
        let count = SIZE / 16;
        let markers: String = (0..count).map(|i| format!(" <<e{i}")).collect();
        let ends: String = (0..count).map(|i| format!("e{i}\n")).collect();
        format!("{stage}{keyword}{markers}{end}\n{ends}")
    };
    let long = |text: &str| text.repeat(SIZE / text.len());
    let names = |count: usize| (0..count).map(|i| format!("n{i} ")).collect::<String>();
    vec![
        (
            "instructions",
            each(stage, "RUN --mount=type=cache,target=/c a && \\\n  \n  b \"x y\" $Z\nLABEL k=\"v\"\n"),
        ),
        ("continuations", each("FROM scratch\nRUN a", " \\\n  && command-@")),
        ("comments in a continuation", each("FROM scratch\nRUN a", " \\\n# a\n")),
        ("blank lines in a continuation", each("FROM scratch\nRUN a \\\n", "\n")),
        ("global arguments", each("", "ARG A@=v\n")),
        ("arguments and their use", each(stage, "ARG A@=v\nENV E@=$A@\n")),
        (
            "arguments of one ARG below comments",
            format!("{}ARG {}\nFROM scratch\n", long("# n1 x\n"), names(SIZE / 8)),
        ),
        ("stages", each("", "FROM a AS s@\n")),
        (
            "stages in a chain",
            lines("FROM scratch AS s0\n", |text, i| {
                write!(text, "FROM s{i} AS s{}\nENV x{i}=1\nCOPY a /{i}\n", i + 1).unwrap();
            }),
        ),
        ("stages from one that is large", {
            let first: String = (0..20_000).map(|i| format!("ENV x{i}=1\n")).collect();
            each(&format!("FROM scratch AS a\n{first}"), "FROM a\nENV y@=$x@\n")
        }),
        (
            "copies between stages",
            lines("FROM scratch AS s0\n", |text, i| {
                write!(
                    text,
                    "FROM scratch AS s{}\nCOPY --from=s{i} /a /\nRUN --mount=from=s{i},target=/x a\n",
                    i + 1
                )
                .unwrap();
            }),
        ),
        ("dollars", format!("{stage}ENV x={}\n", long("$"))),
        ("dollars and braces", format!("{stage}ENV x={}\n", long("${"))),
        ("dollars in a RUN with a heredoc", format!("{stage}RUN <<E {}\nE\n", long("${"))),
        ("names that are not set", format!("{stage}ENV x=1 \\\n{}\n", each("", " y@=$u@ \\\n"))),
        ("names in one word", format!("{stage}ENV x={}\n", each("", "$u@\\\n"))),
        ("names that are nearly set", each(stage, "ENV v@x=1\nENV y=$v@\n")),
        ("names that are nearly global", each("ARG name0\n", "FROM a$nam@\n")),
        ("nested defaults", nested("${a:-", "}", SIZE / 6)),
        ("nested defaults that end nowhere", nested("${a:-", "", SIZE / 5)),
        ("nested defaults in a heredoc", format!("{stage}COPY <<E /x\n{}\nE\n", long("${a:-"))),
        ("variables that double", doubling("ARG", "")),
        ("variables of a stage that double", doubling("ENV", stage)),
        (
            "patterns",
            format!(
                "{stage}ENV a={}\n{}",
                "ab".repeat(SIZE / 20),
                lines("", |text, _| text.push_str("ENV b=${a//b*a/c}${a##*b}${a%?*?*?*}\n"))
            ),
        ),
        (
            "a long pattern",
            format!(
                "{stage}ENV a={}\nENV b=${{a//{}/{}}}\n",
                "a".repeat(60_000),
                "a*".repeat(30_000),
                "c".repeat(60_000)
            ),
        ),
        ("heredocs of a COPY", heredocs("COPY", " /x/")),
        ("heredocs of a RUN", heredocs("RUN cat", "")),
        ("heredocs that end nowhere", format!("{stage}RUN {}\n", long("<<a "))),
        ("heredocs in JSON", format!("{stage}COPY [{} \"/x/\"]\n", each("", "\"<<e@\", \\\n"))),
        ("one line", format!("{stage}RUN {}\n", long("word "))),
        ("a line of one letter", format!("{stage}RUN {}\n", long("x"))),
        ("a keyword without an end", long("x")),
        ("unknown instructions", each(stage, "RUM x\n")),
        ("unknown instructions of one line", format!("{stage}{}\n", long("RUM\n"))),
        ("unknown flags", format!("{stage}RUN {} a\n", long("--monut=x "))),
        (
            "flags given twice",
            format!(
                "{stage}RUN {} {} a\n",
                "--mount=target=/x ".repeat(SIZE / 40),
                "--network=none ".repeat(SIZE / 40)
            ),
        ),
        ("triggers of triggers", format!("{stage}{} RUN a\n", long("ONBUILD "))),
        ("mounts over copies", each(stage, "COPY a /d@/x\nRUN --mount=type=tmpfs,target=/e@ a\n")),
        ("mounts of one step", format!("{stage}RUN {} a\n", each("", "--mount=type=tmpfs,target=/e@ \\\n"))),
        ("fields of a mount", format!("{stage}RUN --mount=type=bind{} a\n", ",ro".repeat(20_000))),
        ("ports", format!("{stage}EXPOSE {}\n", each("", "@ \\\n"))),
        (
            "a skip list and findings",
            format!(
                "# check=skip={}\n{}",
                "A,".repeat(30_000),
                each(stage, "# check=skip=X,Y\nMAINTAINER a\n")
            ),
        ),
        ("packages", format!("{stage}RUN {}\n", long("apt-get update ; \\\n"))),
        ("secrets", each(stage, "ENV A_KEY_@_TOKEN=x\n")),
        ("quotes", format!("{stage}LABEL {}\n", long("a=\"b'c\" \\\n"))),
        ("a quote without an end", format!("{stage}LABEL a=\"{}\n", long("b \\\n"))),
        ("brackets", format!("{stage}CMD {}\n", long("["))),
        ("a JSON array", format!("{stage}CMD [\"x\"{}]\n", long(", \\\n \"abc\""))),
        ("directives", long("# escape=`\n")),
        ("comments", format!("{}{stage}", long("# a comment\n"))),
        ("bytes that are no text", format!("{stage}RUN {}\n", long("\u{0}\u{a0}\u{2028}\r"))),
    ]
}

#[test]
fn a_megabyte_of_anything_costs_little() {
    let mut slow = Vec::new();
    for (name, text) in shapes() {
        let source = Source::new("Dockerfile", text);
        let begun = processor_seconds();
        let (dockerfile, diagnostics) = parse(&source);
        let findings = lint(&dockerfile, &source, &LintContext::default());
        let seconds = processor_seconds() - begun;
        assert!(diagnostics.len() + findings.len() < source.text.len(), "{name}");
        if seconds > BOUND {
            slow.push(format!("{name}: {seconds:.1} s"));
        }
        if std::env::var_os("RBUILD_SHOW_COST").is_some() {
            eprintln!("{seconds:6.2} s  {:7} findings  {name}", diagnostics.len() + findings.len());
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

#[test]
fn a_hostile_trigger_is_an_error() {
    for text in ["ONBUILD ".repeat(100_000), "RUN <<a ".repeat(50_000), "[".repeat(1_000_000)] {
        assert!(parse_trigger(&text).is_err());
    }
}

/// Time that this thread spent on a processor (the first field of schedstat, nanoseconds).
fn processor_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

//! Any text parses to a tree or to errors, every place lies in the text, the lint ends, and a tree that is printed
//! parses to itself.

#![no_main]

use builder::dockerfile::lint::{LintContext, lint};
use builder::dockerfile::{Diagnostic, Source, parse, parse_trigger, print};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source::new("Dockerfile", text);
    let (dockerfile, diagnostics) = parse(&source);
    let broken = diagnostics.iter().any(Diagnostic::is_error);
    assert!(!dockerfile.stages.is_empty() || broken);
    for diagnostic in diagnostics.iter().chain(&lint(&dockerfile, &source, &LintContext::default())) {
        assert!(text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
    }
    let _ = parse_trigger(text);
    if broken || !print::is_faithful(&dockerfile) {
        return;
    }
    let printed = print::print(&dockerfile);
    let (again, diagnostics) = parse(&Source::new("Dockerfile", printed.as_str()));
    assert!(!diagnostics.iter().any(Diagnostic::is_error), "{printed}\n{diagnostics:?}");
    assert_eq!(print::print(&again), printed);
    assert_eq!(again.stages.len(), dockerfile.stages.len());
    for (one, other) in again.stages.iter().zip(&dockerfile.stages) {
        let kinds = |stage: &builder::dockerfile::Stage| -> Vec<_> {
            stage.instructions.iter().map(|instruction| instruction.kind.name()).collect()
        };
        assert_eq!((&one.name, kinds(one)), (&other.name, kinds(other)));
    }
});

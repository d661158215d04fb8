//! A build's error in the words that a person reads: what failed, the line, why, the last output, what to do.

use builder::Error;
use builder::dockerfile::{Level, Source};
use builder::sandbox::{Failure as Refusal, Rung, SandboxError};

use crate::failure::{Exit, Failure};
use crate::place;
use crate::progress::{printable, shortened};

/// The most characters of a step's name in a message.
const NAME: usize = 60;

/// The failure that `error` of a build from `source` is.
pub(super) fn explain(error: &Error, source: &Source) -> Failure {
    match error {
        Error::Cancelled => Failure::new("the build was stopped").exit(Exit::Interrupted),
        Error::Dockerfile(findings) => dockerfile(findings, source),
        Error::Step { name, span, source: cause } => {
            if matches!(**cause, Error::Dockerfile(_) | Error::Cancelled) {
                return explain(cause, source);
            }
            let mut failure = Failure::new(step_message(name, cause));
            if let Some(span) = span {
                let annotation = place::annotation(source, *span, Level::Error, &step_message(name, cause));
                failure = failure.detail(place::show(source, *span)).at(annotation);
            }
            match &**cause {
                Error::Command { tail, .. } if !tail.is_empty() => {
                    failure = failure.detail(last_output(tail));
                }
                Error::Sandbox(refusal) => failure = failure.details(attempts(refusal)),
                _ => {}
            }
            failure.hint(error.hint())
        }
        Error::Hinted { source: cause, help } => explain(cause, source).hint(help.clone()),
        other => Failure::of(other).hint(other.hint()),
    }
}

/// Whether steps may have written something that the log holds.
pub(super) fn has_output(error: &Error) -> bool {
    match error {
        Error::Step { source, .. } => matches!(**source, Error::Command { .. } | Error::Sandbox(_)),
        _ => false,
    }
}

/// What to do where the store cannot be opened.
pub(super) fn store_hint(error: &Error) -> Option<String> {
    let store = matches!(error, Error::Store(_));
    store.then(|| "`--root` or `RBUILD_ROOT` names a directory that may be written".to_owned())
}

fn step_message(name: &str, cause: &Error) -> String {
    // The line itself is shown below.
    let name = shortened(name, NAME);
    match cause {
        Error::Command { ending, .. } => format!("the command of {name} {ending}"),
        // The client's words name the image and the place already.
        Error::Registry { source, .. } => layer_store::error::chain(&**source),
        // Transparent variants carry the text of what they wrap, whose own causes come after it.
        other => format!("{name}: {}", said(other)),
    }
}

fn said(error: &Error) -> String {
    match error {
        Error::File { .. } => error.to_string(),
        _ => layer_store::error::chain(error),
    }
}

fn dockerfile(findings: &[builder::dockerfile::Diagnostic], source: &Source) -> Failure {
    let [only] = findings else {
        let message = format!("`{}` has {} errors", source.name, findings.len());
        let shown = findings.iter().take(place::SHOWN);
        let failure = shown.fold(Failure::new(message), |failure, finding| {
            failure.detail(place::diagnostic(source, finding)).at(place::annotated(source, finding))
        });
        return match findings.len().checked_sub(place::SHOWN) {
            None | Some(0) => failure,
            Some(more) => failure.note(format!("{more} more are not shown")),
        };
    };
    Failure::new(printable(&only.message))
        .detail(place::show(source, only.span))
        .at(place::annotated(source, only))
        .hint(only.help.clone())
}

/// What each rung of isolation was refused for: as `rbuild doctor` says it.
pub(super) fn attempts(error: &SandboxError) -> Option<String> {
    let SandboxError::Refused { attempts } = error else { return None };
    let line = |(rung, failure): &(Rung, Refusal)| {
        let remedy = failure
            .remedy
            .as_ref()
            .map_or_else(String::new, |remedy| format!("\n             mend it  {remedy}"));
        format!("  {:<8} {failure}{remedy}", rung.name())
    };
    Some(attempts.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn last_output(tail: &[String]) -> String {
    let lines: Vec<String> = tail.iter().map(|line| format!("  | {}", printable(line))).collect();
    format!("its last output:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use builder::dockerfile::{Diagnostic, Span};

    use super::*;

    fn text(error: &Error) -> String {
        let source = Source::new("Dockerfile", "FROM busybox:1\nRUN make all\n");
        let mut stripped = anstream::StripStream::new(Vec::new());
        explain(error, &source).write(&mut stripped).unwrap();
        String::from_utf8(stripped.into_inner()).unwrap()
    }

    #[test]
    fn a_failed_command() {
        let cause = Error::Command {
            command: "make all".into(),
            ending: "exited with status 2".into(),
            tail: vec!["cc a.c".into(), "a.c:1: \u{1b}[31merror".into()],
        };
        let error = Error::Step {
            name: "[2/2] RUN make all".into(),
            span: Some(Span::new(15, 27)),
            source: Arc::new(cause),
        };
        insta::assert_snapshot!(text(&error), @r"
        error: the command of [2/2] RUN make all exited with status 2
         --> Dockerfile:2:1
          |
        2 | RUN make all
          | ^^^^^^^^^^^^
        its last output:
          | cc a.c
          | a.c:1: error
        ");
    }

    #[test]
    fn an_error_of_the_dockerfile() {
        let finding = Diagnostic::error(Span::new(15, 18), "unknown instruction `RUM`")
            .with_help("did you mean `RUN`?");
        insta::assert_snapshot!(text(&Error::Dockerfile(vec![finding])), @r"
        error: unknown instruction `RUM`
         --> Dockerfile:2:1
          |
        2 | RUN make all
          | ^^^
        hint: did you mean `RUN`?
        ");
    }
}

//! Rules about Dockerfiles that build and should not be written so.

use super::{Diagnostic, Dockerfile, Source};

/// What is known besides the text.
#[derive(Default)]
pub struct LintContext {}

/// Findings.
pub fn lint(_: &Dockerfile, _: &Source, _: &LintContext) -> Vec<Diagnostic> {
    Vec::new()
}

//! A tree as text again: each instruction on one line, its comments above it, its heredocs below.

use std::fmt::Write as _;

use super::{Dockerfile, Heredoc, Instruction, Word};

/// The text of a file. Parsed again it gives the same instructions, where [`is_faithful`] says so.
pub fn print(dockerfile: &Dockerfile) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# escape={}", dockerfile.directives.escape);
    for instruction in &dockerfile.meta_args {
        print_instruction(instruction, &mut text);
    }
    for stage in &dockerfile.stages {
        print_line(&stage.comments, &stage.original, &mut text);
        for instruction in &stage.instructions {
            print_instruction(instruction, &mut text);
        }
    }
    text
}

fn print_instruction(instruction: &Instruction, text: &mut String) {
    print_line(&instruction.comments, &instruction.original, text);
    for heredoc in read(instruction) {
        let _ = writeln!(text, "{}{}", heredoc.content, heredoc.name);
    }
}

fn print_line(comments: &[Word], original: &str, text: &mut String) {
    for comment in comments {
        let _ = writeln!(text, "# {comment}");
    }
    let _ = writeln!(text, "{original}");
}

/// The heredocs that have lines in the file: a marker in a JSON array or behind an unmatched quote has none.
fn read(instruction: &Instruction) -> impl Iterator<Item = &Heredoc> {
    let count = super::heredoc::markers_in(&instruction.original).len();
    instruction.heredocs.iter().take(count)
}

/// Whether printing loses nothing: directives are not kept but for `escape`, a first comment may look like one, and a
/// line that space hides the end of, or that is too long for one physical line, becomes another one.
pub fn is_faithful(dockerfile: &Dockerfile) -> bool {
    let directives = &dockerfile.directives;
    let first = dockerfile.meta_args.first().map(|instruction| &instruction.comments);
    let first = first.or(dockerfile.stages.first().map(|stage| &stage.comments));
    if directives.check.is_some()
        || directives.syntax.is_some()
        || first.is_some_and(|comments| comments.iter().any(|comment| comment.text.contains('=')))
    {
        return false;
    }
    let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let lines = dockerfile.meta_args.iter().chain(instructions).map(|instruction| &instruction.original);
    lines.chain(dockerfile.stages.iter().map(|stage| &stage.original)).all(|line| {
        !line.ends_with(directives.escape)
            && line.len() <= super::lines::MAX_LINE
            && !line.contains(['\r', '\n'])
    })
}

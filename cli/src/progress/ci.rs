//! What logs of continuous integration fold and point at: groups around the output of a step, and annotations.

use std::io::{self, Write};

use jiff::Timestamp;

/// The service whose log this is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ci {
    /// None that is known.
    #[default]
    None,
    /// GitHub Actions, and what runs its workflows (Forgejo, Gitea).
    GitHub,
    /// GitLab CI.
    GitLab,
}

impl Ci {
    /// By the variables that these services set for every job.
    pub(crate) fn of(variable: impl Fn(&str) -> bool) -> Self {
        if variable("GITHUB_ACTIONS") {
            Self::GitHub
        } else if variable("GITLAB_CI") {
            Self::GitLab
        } else {
            Self::None
        }
    }

    /// Begins a group of lines that can be folded. `name` is unique in the log.
    pub(super) fn open(self, output: &mut impl Write, name: &str, title: &str) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::GitHub => writeln!(output, "::group::{title}"),
            Self::GitLab => {
                writeln!(output, "\x1b[0Ksection_start:{}:{name}\r\x1b[0K{title}", now())
            }
        }
    }

    /// Ends the group.
    pub(super) fn close(self, output: &mut impl Write, name: &str) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::GitHub => writeln!(output, "::endgroup::"),
            Self::GitLab => writeln!(output, "\x1b[0Ksection_end:{}:{name}\r\x1b[0K", now()),
        }
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A place in a file that a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// `error` or `warning`.
    pub(crate) level: &'static str,
    /// The file, from the top of the repository, with the first and last line and the column, from 1.
    pub(crate) place: Option<(String, usize, usize, usize)>,
    /// What is said.
    pub(crate) message: String,
}

impl Annotation {
    /// The line by which GitHub shows the message beside the file.
    pub(crate) fn line(&self) -> String {
        let place = self.place.as_ref().map_or_else(String::new, |(file, line, last, column)| {
            let file = escaped(file).replace(':', "%3A").replace(',', "%2C");
            format!(" file={file},line={line},endLine={last},col={column}")
        });
        format!("::{}{place}::{}", self.level, escaped(&self.message))
    }
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_known_by_their_variables() {
        for (set, wanted) in
            [("GITHUB_ACTIONS", Ci::GitHub), ("GITLAB_CI", Ci::GitLab), ("CI", Ci::None), ("", Ci::None)]
        {
            assert_eq!(Ci::of(|name| name == set), wanted, "{set}");
        }
    }

    #[test]
    fn annotations_are_one_line() {
        let message = "50% of `a`\nis gone".to_owned();
        let place = Some(("a,b/Dockerfile".to_owned(), 3, 4, 1));
        let annotation = Annotation { level: "error", place, message };
        assert_eq!(
            annotation.line(),
            "::error file=a%2Cb/Dockerfile,line=3,endLine=4,col=1::50%25 of `a`%0Ais gone"
        );
        let annotation = Annotation { place: None, ..annotation };
        assert_eq!(annotation.line(), "::error::50%25 of `a`%0Ais gone");
    }
}

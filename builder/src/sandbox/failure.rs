//! From an error number to a [`Failure`]: names the call, finds the cause and the remedy.

use std::path::Path;

use super::report::Failure;

/// Names the call and path of a refused system call.
pub(super) trait Refused<T> {
    /// `call` as a person would write it.
    fn refused(self, call: &str) -> Result<T, Failure>;
    /// The same with the path it was made on.
    fn refused_on(self, call: &str, path: impl AsRef<Path>) -> Result<T, Failure>;
}

impl<T, E: Into<std::io::Error>> Refused<T> for Result<T, E> {
    fn refused(self, call: &str) -> Result<T, Failure> {
        self.map_err(|error| failure(call, None, &error.into()))
    }

    fn refused_on(self, call: &str, path: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|error| failure(call, Some(path.as_ref()), &error.into()))
    }
}

/// A failure for which the kernel gave no number.
pub(super) fn because(call: &str, cause: impl Into<String>) -> Failure {
    Failure { call: call.to_owned(), path: None, errno: None, rung: None, cause: cause.into(), remedy: None }
}

fn failure(call: &str, path: Option<&Path>, error: &std::io::Error) -> Failure {
    let errno = error.raw_os_error();
    Failure {
        call: call.to_owned(),
        path: path.map(Path::to_owned),
        errno,
        rung: None,
        cause: if errno.is_none() { error.to_string() } else { String::new() },
        remedy: None,
    }
}

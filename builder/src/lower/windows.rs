//! What is otherwise in an image for Windows: its shell, and paths with drive letters and backslashes. Inside, paths have
//! slashes; the configuration has them as Windows does.

use std::borrow::Cow;

use super::files::absolute;
use super::stage::StageState;

/// The shell of the shell form, where SHELL names none.
pub(super) const SHELL: [&str; 3] = ["cmd", "/S", "/C"];

/// A path as it is inside: of an image for Windows with slashes and without the drive letter, which has to be that of the
/// system drive; of others as it is written.
///
/// # Errors
///
/// Why it cannot be a path of the image.
pub(super) fn inside<'a>(state: &StageState, path: &'a str) -> Result<Cow<'a, str>, String> {
    if !state.is_for_windows() {
        return Ok(Cow::Borrowed(path));
    }
    let slashed = path.replace('\\', "/");
    if slashed.len() == 2 && slashed.ends_with(':') {
        return Err(format!("no path stands behind the drive of `{path}`"));
    }
    if slashed.starts_with("//") {
        return Err(format!("`{path}` is a UNC path, which is not supported"));
    }
    match slashed.split_once(':') {
        None => Ok(Cow::Owned(slashed)),
        Some((drive, rest)) if drive.eq_ignore_ascii_case("c") => Ok(Cow::Owned(rest.to_owned())),
        Some(_) => Err(format!("`{path}` is not on the system drive (C:)")),
    }
}

/// The working directory `path` below that of `state`, as it is inside.
///
/// # Errors
///
/// As [`inside`].
pub(super) fn working_directory(state: &StageState, path: &str) -> Result<String, String> {
    inside(state, path).map(|path| absolute(&state.cwd(), &path))
}

/// A path of the inside as the configuration of an image for Windows has it.
pub(super) fn outside(path: &str) -> String {
    path.replace('/', "\\")
}

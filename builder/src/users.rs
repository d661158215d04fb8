//! Names of users and groups, as an image's `/etc/passwd` and `/etc/group` have them.

use layer_store::{Store, View};

use crate::copy::Owner;

/// Why a user is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The name is in no line of the file.
    #[error("no {what} `{name}` in `{file}` of the image")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// As given.
        name: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
    },
    /// The text is no `user[:group]`.
    #[error("`{0}` is not a user")]
    Malformed(String),
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] layer_store::Error),
}

/// Who a RUN runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunUser {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, without the primary one, sorted.
    pub groups: Vec<u32>,
    /// Home directory, `/` where there is no line for the user.
    pub home: String,
}

/// The owner that `--chown=user[:group]` names: a numeric user without a group is its own group, a named one brings
/// its primary group.
pub fn chown(store: &Store, view: &View, text: &str) -> Result<Owner, UserError> {
    let _ = (store, view, text);
    unimplemented!()
}

/// Whom `USER user[:group]` names: an unknown number has group 0, a given group drops the supplementary ones. Empty
/// text is root.
pub fn run_user(store: &Store, view: &View, text: &str) -> Result<RunUser, UserError> {
    let _ = (store, view, text);
    unimplemented!()
}

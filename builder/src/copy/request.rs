//! What a COPY, ADD or WORKDIR asks for.

use super::ModeChange;

/// Numeric owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// One COPY or ADD, all words expanded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Paths or patterns inside the source, in order. Absolute and relative ones mean the same.
    pub sources: Vec<String>,
    /// The destination as written, its trailing slash included.
    pub destination: String,
    /// The working directory that a relative destination is joined to. Empty: `/`.
    pub cwd: String,
    /// `--chown`, looked up (see [`crate::users`]). `None` keeps the owners of the source.
    pub owner: Option<Owner>,
    /// `--chmod`.
    pub mode: Option<ModeChange>,
    /// `--parents`: sources keep their directories, from a `/./` in them on.
    pub parents: bool,
    /// Sources are no patterns, keep their directories, and lead over links, which come too: the part of a context that
    /// a mount shows. [`Request::exclude`] and [`Request::parents`] play no part.
    pub along_links: bool,
    /// `--exclude`, in `.dockerignore` syntax, relative to each source directory.
    pub exclude: Vec<String>,
    /// Archives are unpacked: ADD of local files, `--unpack`. Counts when a source is selected.
    pub unpack: bool,
    /// Modification time, in seconds since the epoch, of what has no source of its own: directories that are made
    /// on the way, inline files. `None`: the newest time among what is copied, so that no clock gets into a layer.
    pub mtime: Option<i64>,
}

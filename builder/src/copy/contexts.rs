//! Contexts that are archives: `-`, a tar from a URL.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use layer_store::layer::Form;
use layer_store::{Digest, Store, View};

use super::CopyError;
use super::archive;
use super::draft::Draft;

/// Makes a layer of an archive, plain or compressed, so that its [`View`] can be a [`super::Source`]: owners, modes,
/// links and devices are the archive's, as in BuildKit. `name` is for messages. `None` if `file`, read from its
/// beginning, is no archive (then it is a Dockerfile, or nothing).
///
/// # Errors
///
/// An archive that is damaged or hostile; a store that fails.
pub fn layer_of_archive(store: &Store, name: &str, file: &File) -> Result<Option<Digest>, CopyError> {
    let again = || {
        // Opened anew, since a clone would share its position with the caller's.
        File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .map(archive::Opened::File)
            .map_err(|source| CopyError::Io { action: "open", path: name.to_owned(), source })
    };
    let empty = View::default();
    let mut draft = Draft::new(&empty);
    if !archive::unpack_file(store, name, &again, &mut draft, b"", None)? {
        return Ok(None);
    }
    let entries = draft.entries(None)?;
    Ok(Some(store.write_layer(entries, Form::Tar)?))
}

//! ADD of archives.

use layer_store::Store;

use super::draft::Draft;
use super::place::Target;
use super::select::{Match, Part};
use super::{CopyError, Request};

/// Unpacks the match into the destination directory, if it is an archive. Whether it was one.
pub(super) fn unpack(
    store: &Store,
    part: &Part<'_>,
    found: &Match,
    draft: &mut Draft<'_>,
    target: &Target,
    request: &Request,
) -> Result<bool, CopyError> {
    let _ = (store, part, found, draft, target, request);
    Ok(false)
}

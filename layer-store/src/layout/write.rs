//! A layout as one tar stream.

use std::io::Write;

use super::{ExportImage, Plan, copy_verified, ustar};
use crate::store::root_layout::LAYOUT_FILE;
use crate::{Descriptor, Result, Store};

/// Writes `images` as the tar of an OCI layout: `oci-layout`, `index.json`, then blobs, a manifest before what it
/// names, so that a reader can check as it goes. What was written before an error is of no use.
///
/// # Errors
///
/// [`crate::Error::Missing`] when a blob is not here (nothing was written then), [`crate::Error::DigestMismatch`] and
/// [`crate::Error::SizeMismatch`] when the disk lost one, [`crate::Error::Write`] when `output` fails.
pub fn write_tar(store: &Store, images: &[ExportImage], output: &mut dyn Write) -> Result<()> {
    let plan = Plan::new(store, images)?;
    write_plan(store, &plan, &[], output)
}

/// A layout with more documents beside `index.json`, by name.
pub(crate) fn write_plan(
    store: &Store,
    plan: &Plan,
    documents: &[(&str, &[u8])],
    output: &mut dyn Write,
) -> Result<()> {
    ustar::whole_file(output, "oci-layout", LAYOUT_FILE)?;
    ustar::whole_file(output, "index.json", &plan.index.raw)?;
    for (name, bytes) in documents {
        ustar::whole_file(output, name, bytes)?;
    }
    ustar::directory(output, "blobs/")?;
    ustar::directory(output, "blobs/sha256/")?;
    for blob in &plan.blobs {
        ustar::file(output, &blob_name(blob), blob.size)?;
        copy_verified(store, blob, output)?;
        ustar::pad(output, blob.size)?;
    }
    ustar::end(output)
}

/// The path of a blob in a layout.
pub(crate) fn blob_name(blob: &Descriptor) -> String {
    format!("blobs/sha256/{}", blob.digest.hex())
}

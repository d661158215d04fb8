//! Collection of what nothing needs.

use crate::{Result, Store};

impl Store {
    /// Removes all blobs, layers and half-written things that no image, no step record and no running build needs.
    /// Returns the bytes that came back.
    pub fn collect(&self) -> Result<u64> {
        unimplemented!()
    }
}

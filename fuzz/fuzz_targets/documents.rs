//! Documents from registries and archives, and an index that the disk changed: each is read or refused, and what was
//! read is written and read again as the same.

#![no_main]

use layer_store::{ImageConfig, Index, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for media_type in [None, Some("application/vnd.oci.image.index.v1+json")] {
        if let Ok(manifest) = Manifest::parse(bytes.to_vec(), media_type) {
            assert_eq!(manifest.descriptor().size, bytes.len() as u64);
            let again = Manifest::parse(manifest.raw.clone(), None).unwrap();
            assert_eq!(again.digest(), manifest.digest());
        }
    }
    if let Ok(config) = ImageConfig::from_slice(bytes) {
        let written = config.to_bytes();
        let again = ImageConfig::from_slice(&written).unwrap();
        assert_eq!(again.to_bytes(), written);
        let _ = config.platform();
    }
    if let Ok(index) = Index::decode(bytes) {
        let again = Index::decode(&index.encode()).unwrap();
        assert_eq!(again.entries(), index.entries());
    }
});

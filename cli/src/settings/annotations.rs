//! `--annotation`.

use builder::Annotation;

use crate::failure::{Failure, Result};

/// `[manifest|index][,…][[PLATFORM]]:KEY=VALUE`, as buildx has it. `has_manifest` is whether the build makes one that
/// leaves the store.
pub(super) fn read(texts: &[String], has_manifest: bool) -> Result<Vec<Annotation>> {
    if !texts.is_empty() && !has_manifest {
        return Err(Failure::usage("annotations belong to a manifest, and this build makes none")
            .hint("add `--push` or `--output`; labels (`--label`) are kept in the image itself"));
    }
    texts.iter().map(|text| one(text)).collect()
}

fn one(text: &str) -> Result<Annotation> {
    let wrong = || {
        Failure::usage(format!("`--annotation {text}` is not of the form [TYPE:]KEY=VALUE"))
            .hint("a type is `manifest`, `index`, both with a comma between them, or `manifest[linux/amd64]`")
    };
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let (kinds, key) = name.split_once(':').unwrap_or(("manifest", name));
    let (key, value) = (key.to_owned(), value.to_owned());
    let mut annotation = Annotation { index: false, manifest: false, platform: None, key, value };
    for kind in kinds.split(',') {
        let (kind, platform) = match kind.split_once('[') {
            Some((kind, rest)) => (kind, Some(rest.strip_suffix(']').ok_or_else(wrong)?)),
            None => (kind, None),
        };
        match kind {
            "manifest" => annotation.manifest = true,
            "index" => annotation.index = true,
            _ => return Err(wrong()),
        }
        if let Some(platform) = platform {
            annotation.platform = Some(platform.parse().map_err(|_| wrong())?);
        }
    }
    if annotation.key.is_empty() { Err(wrong()) } else { Ok(annotation) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_buildx_writes_them() {
        let kinds = |text: &str| one(text).map(|one| (one.manifest, one.index, one.key)).unwrap();
        assert_eq!(kinds("a=b"), (true, false, "a".to_owned()));
        assert_eq!(kinds("index:a=b:c"), (false, true, "a".to_owned()));
        assert_eq!(kinds("index,manifest:a="), (true, true, "a".to_owned()));
        let platform = one("manifest[linux/arm64]:a=b").unwrap().platform;
        assert_eq!(platform.unwrap().to_string(), "linux/arm64");
        for text in ["a", "=b", "other:a=b", "manifest[:a=b", "manifest[x/y/z/w]:a=b"] {
            assert!(one(text).is_err(), "{text}");
        }
        assert!(read(&["a=b".to_owned()], false).is_err());
    }
}

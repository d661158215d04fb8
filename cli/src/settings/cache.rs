//! `--cache-from` and `--cache-to`.

use builder::cache::{CachePlace, CacheSettings, CacheTarget};
use registry_client::Reference;

use super::values::{duration, fields};
use crate::args::build::BuildArgs;
use crate::failure::{Failure, Result};

/// The caches that a build reads and writes.
pub(super) fn read(args: &BuildArgs) -> Result<CacheSettings> {
    Ok(CacheSettings {
        from: args.cache_from.iter().map(|text| source(text)).collect::<Result<_>>()?,
        to: args.cache_to.iter().map(|text| target(text)).collect::<Result<_>>()?,
        mounts: args.cache_mounts,
        ttl: args.cache_ttl.as_deref().map(duration).transpose()?,
        ..CacheSettings::default()
    })
}

fn source(text: &str) -> Result<CachePlace> {
    let cache = Cache::read("--cache-from", text)?;
    match cache.kind.as_str() {
        "registry" => cache.registry().map(CachePlace::Registry),
        "local" => cache.directory("src", cache.src.as_deref()),
        // What an image carries is read where it lies.
        "inline" => Err(Failure::usage("`--cache-from type=inline` names no image")
            .hint("write `type=registry,ref=NAME` with the name of the image")),
        other => Err(unknown("--cache-from", other)),
    }
}

fn target(text: &str) -> Result<CacheTarget> {
    let cache = Cache::read("--cache-to", text)?;
    let all_steps = match cache.mode.as_deref() {
        None | Some("min") => false,
        Some("max") => true,
        Some(other) => {
            return Err(Failure::usage(format!("`--cache-to` has no mode `{other}`"))
                .hint("`min` is what the image is made of, `max` every step"));
        }
    };
    let place = match cache.kind.as_str() {
        "inline" => return Ok(CacheTarget::Inline),
        "registry" => CachePlace::Registry(cache.registry()?),
        "local" => cache.directory("dest", cache.dest.as_deref())?,
        other => return Err(unknown("--cache-to", other)),
    };
    Ok(CacheTarget::Place { place, all_steps })
}

fn unknown(option: &str, kind: &str) -> Failure {
    Failure::usage(format!("`{option}` has no type `{kind}`"))
        .hint("types are `registry`, `local` and `inline`; a registry works on any CI system")
}

/// What was written, by its keys.
struct Cache<'a> {
    option: &'static str,
    text: &'a str,
    kind: String,
    reference: Option<String>,
    src: Option<String>,
    dest: Option<String>,
    tag: Option<String>,
    mode: Option<String>,
}

impl<'a> Cache<'a> {
    fn read(option: &'static str, text: &'a str) -> Result<Self> {
        let mut cache = Self {
            option,
            text,
            kind: String::new(),
            reference: None,
            src: None,
            dest: None,
            tag: None,
            mode: None,
        };
        if !text.contains('=') {
            // Docker's short form.
            cache.kind = if text == "inline" { "inline".to_owned() } else { "registry".to_owned() };
            cache.reference = Some(text.to_owned());
            return Ok(cache);
        }
        for (key, value) in fields(option, text)? {
            let value = value.filter(|value| !value.is_empty());
            match key.as_str() {
                "type" => cache.kind = value.unwrap_or_default(),
                "ref" => cache.reference = value,
                "src" => cache.src = value,
                "dest" => cache.dest = value,
                "tag" => cache.tag = value,
                "mode" => cache.mode = value,
                // A cache never fails a build, manifests are OCI's, and layers travel as `--output` says.
                "ignore-error" | "oci-mediatypes" | "image-manifest" | "compression"
                | "compression-level" | "force-compression" => {}
                other => {
                    return Err(Failure::usage(format!(
                        "`{option} {text}` has the attribute `{other}`, which is not supported"
                    ))
                    .hint("attributes are type, ref, mode, src, dest and tag"));
                }
            }
        }
        Ok(cache)
    }

    fn registry(&self) -> Result<Reference> {
        let name = self.reference.as_deref().ok_or_else(|| {
            Failure::usage(format!("`{} {}` has no `ref=`", self.option, self.text))
                .hint("a reference is `registry.example/team/app:cache` for instance")
        })?;
        let reference = Reference::parse(name).map_err(|error| Failure::usage(error.to_string()))?;
        if self.option == "--cache-to" && reference.digest().is_some() {
            return Err(Failure::usage(format!("a cache cannot be written to the digest of `{name}`")));
        }
        Ok(reference)
    }

    fn directory(&self, key: &str, path: Option<&str>) -> Result<CachePlace> {
        let path =
            path.ok_or_else(|| Failure::usage(format!("`{} {}` has no `{key}=`", self.option, self.text)))?;
        let tag = self.tag.clone().unwrap_or_else(|| "latest".to_owned());
        Ok(CachePlace::Directory { path: path.into(), tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_takes() {
        let place = |text: &str| source(text).map(|place| place.to_string()).map_err(|e| e.to_string());
        assert_eq!(place("r.example/app:cache").unwrap(), "r.example/app:cache");
        assert_eq!(place("type=registry,ref=r.example/app:main").unwrap(), "r.example/app:main");
        assert_eq!(place("type=local,src=/c").unwrap(), "/c");
        for text in ["type=registry", "type=local", "type=gha", "type=inline", "type=registry,ref=A B", "x=1"]
        {
            assert!(place(text).is_err(), "{text}");
        }
        assert_eq!(target("type=inline").unwrap(), CacheTarget::Inline);
        assert_eq!(target("inline").unwrap(), CacheTarget::Inline);
        let all = |text: &str| match target(text).unwrap() {
            CacheTarget::Place { all_steps, .. } => all_steps,
            CacheTarget::Inline => false,
        };
        assert!(all("type=registry,ref=r.example/app:c,mode=max,ignore-error=true"));
        assert!(!all("type=local,dest=/c,mode=min"));
        for text in ["type=registry,ref=a,mode=some", "type=s3,bucket=b", "type=local,dest=/c,level=3"] {
            assert!(target(text).is_err(), "{text}");
        }
    }
}

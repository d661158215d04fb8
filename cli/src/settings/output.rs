//! `--output`: where a result goes.

use std::path::PathBuf;

use builder::output::{Destination, Output, Packing};
use layer_store::layer::Compression;

use super::values::fields;
use crate::failure::{Failure, Result};

/// What all `--output` values ask for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The outputs.
    pub(super) outputs: Vec<Output>,
    /// How layers travel.
    pub(super) packing: Packing,
    /// The names that an output gives the image.
    pub(super) names: Vec<String>,
    /// Whether attestations are to be artifacts.
    pub(super) as_artifact: bool,
}

/// Reads all `--output` values. `has_epoch` says whether `SOURCE_DATE_EPOCH` is set.
pub(super) fn read(texts: &[String], has_epoch: bool) -> Result<Asked> {
    let mut asked = Asked::default();
    for text in texts {
        one(text, has_epoch, &mut asked)?;
    }
    let to_stdout = |output: &&Output| {
        matches!(
            output,
            Output::Oci { dest: Destination::Stdout, .. }
                | Output::Docker { dest: Destination::Stdout }
                | Output::Tar { dest: Destination::Stdout }
        )
    };
    if asked.outputs.iter().filter(to_stdout).count() > 1 {
        return Err(Failure::usage("only one output can go to standard output"));
    }
    Ok(asked)
}

fn one(text: &str, has_epoch: bool, asked: &mut Asked) -> Result<()> {
    if text == "-" {
        asked.outputs.push(Output::Tar { dest: Destination::Stdout });
        return Ok(());
    }
    if !text.contains('=') {
        asked.outputs.push(Output::Local { dest: text.into() });
        return Ok(());
    }
    let mut kind = None;
    let mut dest = None;
    let mut tar = true;
    let mut push = false;
    let mut compression = None;
    let mut level = None;
    let mut force = false;
    for (key, value) in fields("--output", text)? {
        let value = value.unwrap_or_else(|| "true".to_owned());
        let is = |value: &str| matches!(value, "true" | "1");
        match key.as_str() {
            "type" => kind = Some(value),
            "dest" => dest = Some(value),
            "tar" => tar = is(&value),
            "push" => push = is(&value),
            "name" => asked.names.extend(value.split(',').map(str::to_owned)),
            "oci-artifact" => asked.as_artifact = is(&value),
            "compression" => compression = Some(value),
            "compression-level" => level = Some(value),
            "force-compression" => force = is(&value),
            // What is asked for is what happens: manifests are OCI's, and the store has every image.
            "oci-mediatypes" if is(&value) => {}
            "store" | "unpack" => {}
            // Times in new layers are clamped whenever there is an epoch; base layers stay as they are.
            "rewrite-timestamp" if !is(&value) || has_epoch => {}
            "rewrite-timestamp" => {
                return Err(Failure::usage(format!(
                    "`--output {text}` has no time to rewrite timestamps to"
                ))
                .hint("set `SOURCE_DATE_EPOCH`, in the environment or with `--build-arg`"));
            }
            other => {
                return Err(Failure::usage(format!("`--output {text}` has the attribute `{other}`, which is not supported"))
                    .hint("attributes are type, dest, tar, push, name, compression, compression-level, force-compression, oci-artifact and rewrite-timestamp"));
            }
        }
    }
    let kind = kind.ok_or_else(|| Failure::usage(format!("`--output {text}` has no `type=`")))?;
    if compression.is_some() || level.is_some() || force {
        asked.packing = packing(compression.as_deref().unwrap_or("gzip"), level.as_deref(), force)?;
    }
    let destination = || match dest.as_deref() {
        None | Some("-") => Destination::Stdout,
        Some(path) => Destination::File(path.into()),
    };
    let output = match kind.as_str() {
        "oci" if tar => Some(Output::Oci { dest: destination(), tar }),
        "oci" => Some(Output::Oci { dest: Destination::File(directory(text, dest.clone())?), tar }),
        "docker" => Some(Output::Docker { dest: destination() }),
        "tar" => Some(Output::Tar { dest: destination() }),
        "local" => Some(Output::Local { dest: directory(text, dest.clone())? }),
        "registry" => Some(Output::Registry),
        "image" if push => Some(Output::Registry),
        "image" => None,
        "cacheonly" => None,
        other => {
            return Err(Failure::usage(format!("there is no output type `{other}`"))
                .hint("types are oci, docker, tar, local, image and registry"));
        }
    };
    asked.outputs.extend(output);
    Ok(())
}

fn directory(text: &str, dest: Option<String>) -> Result<PathBuf> {
    dest.map(PathBuf::from).ok_or_else(|| Failure::usage(format!("`--output {text}` has no `dest=`")))
}

/// How layers travel.
pub(super) fn packing(text: &str, level: Option<&str>, force: bool) -> Result<Packing> {
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level)),
        None => (text, level),
    };
    let number = |least: i32, most: i32, usual: i32| -> Result<i32> {
        let Some(level) = level else { return Ok(usual) };
        level.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            Failure::usage(format!(
                "`{level}` is no compression level of {name}; it is between {least} and {most}"
            ))
        })
    };
    let compression = match name {
        "gzip" => Compression::Gzip(number(0, 9, 6)?.unsigned_abs()),
        "zstd" => Compression::Zstd(number(1, 22, 3)?),
        "none" | "uncompressed" => Compression::None,
        other => {
            return Err(Failure::usage(format!("there is no compression `{other}`"))
                .hint("it is `gzip`, `zstd` or `none`"));
        }
    };
    Ok(Packing { compression, force })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Result<Vec<Output>, String> {
        read(&[text.to_owned()], false).map(|asked| asked.outputs).map_err(|error| error.to_string())
    }

    #[test]
    fn outputs_as_in_buildx() {
        let file = |path: &str| Destination::File(path.into());
        for (text, wanted) in [
            ("-", vec![Output::Tar { dest: Destination::Stdout }]),
            ("out", vec![Output::Local { dest: "out".into() }]),
            ("type=oci,dest=a.tar", vec![Output::Oci { dest: file("a.tar"), tar: true }]),
            ("type=oci,dest=dir,tar=false", vec![Output::Oci { dest: file("dir"), tar: false }]),
            ("type=docker", vec![Output::Docker { dest: Destination::Stdout }]),
            ("type=image,push=true", vec![Output::Registry]),
            ("type=image", vec![]),
        ] {
            assert_eq!(output(text), Ok(wanted), "{text}");
        }
        for text in ["type=oci,tar=false", "dest=x", "type=nothing", "type=local", "type=oci,estargz=true"] {
            assert!(output(text).is_err(), "{text}");
        }
        assert!(read(&["-".to_owned(), "type=oci".to_owned()], false).is_err());
        let rewritten = ["type=oci,rewrite-timestamp=true".to_owned()];
        assert!(read(&rewritten, true).is_ok() && read(&rewritten, false).is_err());
    }

    #[test]
    fn compression_has_its_levels() {
        let compression = |text| packing(text, None, false).map(|packing| packing.compression).ok();
        assert_eq!(compression("gzip"), Some(Compression::Gzip(6)));
        assert_eq!(compression("gzip:9"), Some(Compression::Gzip(9)));
        assert_eq!(compression("zstd:19"), Some(Compression::Zstd(19)));
        assert_eq!(compression("none"), Some(Compression::None));
        for text in ["gzip:10", "zstd:0", "zstd:x", "lzma"] {
            assert_eq!(compression(text), None, "{text}");
        }
    }
}

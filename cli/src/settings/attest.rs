//! `--provenance`, `--sbom`, `--attest` and `--attest-storage`: what is said of an image beside it.

use builder::attest::{Attestations, Mode, Provenance, Storage};
use builder::output::Output;

use super::values::fields;
use crate::args::build::BuildArgs;
use crate::failure::{Failure, Result};

/// Reads the options. `as_artifact` says whether an output asked for `oci-artifact=true`.
pub(super) fn read(args: &BuildArgs, outputs: &[Output], as_artifact: bool) -> Result<Attestations> {
    let mut attestations = Attestations::default();
    for text in &args.attest {
        let mut attributes = fields("--attest", text)?;
        let kind = attributes.iter().position(|(key, _)| key == "type");
        let kind = kind.and_then(|at| attributes.remove(at).1);
        match kind.as_deref() {
            Some("provenance") => attestations.provenance = provenance("--attest", text, attributes)?,
            Some("sbom") => attestations.sbom = sbom("--attest", text, attributes)?,
            Some(other) => {
                return Err(Failure::usage(format!("there is no attestation of the type `{other}`"))
                    .hint("types are `provenance` and `sbom`"));
            }
            None => return Err(Failure::usage(format!("`--attest {text}` has no `type=`"))),
        }
    }
    if let Some(text) = &args.provenance {
        attestations.provenance = provenance("--provenance", text, fields("--provenance", text)?)?;
    }
    if let Some(text) = &args.sbom {
        attestations.sbom = sbom("--sbom", text, fields("--sbom", text)?)?;
    }
    attestations.storage = match args.attest_storage.as_deref() {
        None if as_artifact => Storage::Artifact,
        None | Some("index") => Storage::Index,
        Some("artifact") => Storage::Artifact,
        Some("referrers") => Storage::Referrers,
        Some(other) => {
            return Err(Failure::usage(format!("there is no form `{other}` of stored attestations"))
                .hint("it is `index`, `artifact` or `referrers`"));
        }
    };
    let has_place = outputs.iter().any(Output::holds_attestations);
    if attestations.is_wanted() && attestations.storage == Storage::Referrers && !has_place {
        return Err(Failure::usage("`--attest-storage=referrers` has no place for what refers to the image")
            .hint("add `--push` or `--output type=oci,dest=FILE`; without them the store keeps attestations in an index"));
    }
    Ok(attestations)
}

type Attributes = Vec<(String, Option<String>)>;

/// `true`, `false`, or attributes of provenance; `None` where there is to be none.
fn provenance(option: &str, text: &str, attributes: Attributes) -> Result<Option<Provenance>> {
    let mut settings = Provenance::default();
    let mut is_wanted = true;
    for (key, value) in attributes {
        match (key.as_str(), value.as_deref()) {
            ("true" | "1", None) => {}
            ("false" | "0", None) => is_wanted = false,
            ("disabled", value) => is_wanted = !flag(option, text, value)?,
            ("mode", Some("min")) => settings.mode = Mode::Min,
            ("mode", Some("max")) => settings.mode = Mode::Max,
            ("builder-id", Some(id)) => id.clone_into(&mut settings.builder_id),
            ("reproducible", value) => settings.reproducible = flag(option, text, value)?,
            // There is no other place for it than beside the image.
            ("inline-only", value) => _ = flag(option, text, value)?,
            ("version", Some("v1")) => {}
            ("version", _) => {
                return Err(Failure::usage(format!(
                    "`{option} {text}` asks for another version of provenance"
                ))
                .hint("provenance is written in SLSA's version `v1`"));
            }
            _ => {
                return Err(Failure::usage(format!("`{option} {text}` has `{key}`, which means nothing there"))
                    .hint("attributes are mode=min|max, builder-id, reproducible, inline-only, version=v1 and disabled"));
            }
        }
    }
    Ok(is_wanted.then_some(settings))
}

/// `true`, `false`, or attributes of a bill of materials: whether there is to be one.
fn sbom(option: &str, text: &str, attributes: Attributes) -> Result<bool> {
    let mut is_wanted = true;
    for (key, value) in attributes {
        match (key.as_str(), value.as_deref()) {
            ("true" | "1", None) => {}
            ("false" | "0", None) => is_wanted = false,
            ("disabled", value) => is_wanted = !flag(option, text, value)?,
            ("generator", _) => {
                return Err(Failure::usage(format!("`{option} {text}` names a generator, and none is run"))
                    .hint("`--sbom=true` lists the packages of dpkg and apk; a scanner's own list can be put beside the image with `rbuild attach`"));
            }
            _ => {
                return Err(Failure::usage(format!(
                    "`{option} {text}` has `{key}`, which means nothing there"
                ))
                .hint("it is `true` or `false`"));
            }
        }
    }
    Ok(is_wanted)
}

fn flag(option: &str, text: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(Failure::usage(format!("`{option} {text}`: `{other}` is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> Option<Option<Mode>> {
        let read = provenance("--provenance", text, fields("--provenance", text).unwrap());
        read.ok().map(|settings| settings.map(|settings| settings.mode))
    }

    #[test]
    fn provenance_in_all_spellings() {
        for (text, wanted) in [
            ("true", Some(Some(Mode::Max))),
            ("false", Some(None)),
            ("mode=min", Some(Some(Mode::Min))),
            ("mode=max,builder-id=https://ci.example/1,reproducible=true,version=v1", Some(Some(Mode::Max))),
            ("mode=min,disabled=true", Some(None)),
            ("mode=most", None),
            ("version=v0.2", None),
            ("reproducible=perhaps", None),
            ("filename=x", None),
        ] {
            assert_eq!(mode(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_generator_is_refused() {
        let read = |text: &str| sbom("--sbom", text, fields("--sbom", text).unwrap());
        assert!(read("true").unwrap());
        assert!(!read("false").unwrap());
        assert!(read("generator=docker/scout-sbom-indexer").unwrap_err().to_string().contains("generator"));
    }
}

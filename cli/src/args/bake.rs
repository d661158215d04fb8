//! Arguments of `rbuild bake`. Names and meaning are those of `docker buildx bake`.

use std::path::PathBuf;

use clap::Args;

use super::build::ProgressArg;
use super::call::Call;
use super::kaniko::boolean;

/// `rbuild bake`
#[derive(Debug, Args)]
pub(crate) struct BakeArgs {
    /// Targets and groups, also as patterns (`app-*`); in front of them the address of a definition that is not here, a git
    /// repository or a file [default: `default`]
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Bake or compose file, `-` for standard input; may be repeated, later ones change earlier ones [default: each of
    /// compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml, docker-bake.json, docker-bake.hcl,
    /// docker-bake.override.json, docker-bake.override.hcl that is there]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<String>,
    /// Change a target: `TARGET.KEY=VALUE`, `TARGET.KEY+=VALUE` adds; TARGET may be a pattern
    #[arg(long, value_name = "SETTING")]
    pub(crate) set: Vec<String>,
    /// Value of a variable; it comes before that of the environment
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) var: Vec<String>,
    /// Print what would be built, as JSON, and build nothing
    #[arg(long, conflicts_with = "list")]
    pub(crate) print: bool,
    /// List `targets` or `variables`, with `type=targets,format=json` as JSON, and build nothing
    #[arg(long, value_name = "WHAT")]
    pub(crate) list: Option<String>,
    /// Send the images to where their names say
    #[arg(long)]
    pub(crate) push: bool,
    /// Put the images into the store (they always are)
    #[arg(long)]
    pub(crate) load: bool,
    /// Do not use results of earlier builds
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) no_cache: Option<bool>,
    /// Ask registries for base images that are here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) pull: Option<bool>,
    /// Provenance of the images, as `--provenance` of a build
    #[arg(long, value_name = "PROVENANCE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) provenance: Option<String>,
    /// Bill of materials of the images, as `--sbom` of a build
    #[arg(long, value_name = "SBOM", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) sbom: Option<String>,
    /// Privilege that targets may ask for: `network.host` or `security.insecure`; of a definition at an address also `ssh` and
    /// files outside of this directory, `fs=PATH`, `fs.read=PATH` or `fs.write=PATH`
    #[arg(long, value_name = "ENTITLEMENT")]
    pub(crate) allow: Vec<String>,
    /// Write digests of the results to a file, as JSON by target
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How progress is shown
    #[arg(long, value_name = "KIND", default_value = "auto")]
    pub(crate) progress: ProgressArg,
    /// Check the Dockerfiles and build nothing, as `--call check`
    #[arg(long)]
    pub(crate) check: bool,
    /// What to do with the Dockerfiles: `build`, `check`, `outline` or `targets`, the last three also with `,format=json`
    #[arg(long, value_name = "METHOD")]
    pub(crate) call: Option<Call>,
    /// Steps that run at the same time, in each target [default: as many as there are processors]
    #[arg(long, value_name = "COUNT")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
}

//! Arguments of `rbuild kaniko`. Names and meaning are those of kaniko's executor; what is recognised but not done stands
//! in [`super::kaniko_flags`].

use clap::{Args, ValueEnum};

/// `rbuild kaniko`
#[derive(Debug, Args)]
pub(crate) struct KanikoArgs {
    /// The build context: a directory, `dir://DIR`, `tar://FILE`, `tar://stdin`, `git://HOST/PATH[#REF[#COMMIT]]`, or the
    /// URL of an archive
    #[arg(short, long, value_name = "CONTEXT", default_value = "/workspace")]
    pub(crate) context: String,
    /// Directory of the context that takes its place
    #[arg(long, value_name = "DIR")]
    pub(crate) context_sub_path: Option<String>,
    /// The Dockerfile: a path from where the command runs, or one in the context, or a URL
    #[arg(short = 'f', long, value_name = "FILE", default_value = "Dockerfile")]
    pub(crate) dockerfile: String,
    /// Where the image is pushed to; may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) destination: Vec<String>,
    /// Do not push the image
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) no_push: Option<bool>,
    /// Value of an ARG; without `=` it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// Stage to build
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Annotation of the manifest
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Secret for `RUN --mount=type=secret`: `id=NAME[,src=FILE|,env=VARIABLE]`
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<String>,
    /// Platform of the image
    #[arg(long, alias = "customPlatform", value_name = "PLATFORM")]
    pub(crate) custom_platform: Option<String>,
    /// Use and write a cache in a registry or directory; `false` does every step again
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) cache: Option<bool>,
    /// Repository of the cache, or `oci:DIR` [default: `cache` below the first destination]
    #[arg(long, value_name = "NAME")]
    pub(crate) cache_repo: Option<String>,
    /// How long a result of the cache is good, `6h` for instance [default: two weeks]
    #[arg(long, value_name = "TIME")]
    pub(crate) cache_ttl: Option<String>,
    /// Whether results of RUN are used
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) cache_run_layers: Option<bool>,
    /// Read the cache and do not write it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) no_push_cache: Option<bool>,
    /// Write the image into an archive that `docker load` reads
    #[arg(long, alias = "tarPath", value_name = "FILE")]
    pub(crate) tar_path: Option<String>,
    /// Write the image into an OCI layout
    #[arg(long, value_name = "DIR")]
    pub(crate) oci_layout_path: Option<String>,
    /// Write the digest of the image to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<String>,
    /// Write a line `NAME@DIGEST` for each destination to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) image_name_with_digest_file: Option<String>,
    /// Write a line `NAME:TAG@DIGEST` for each destination to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) image_name_tag_with_digest_file: Option<String>,
    /// How layers are compressed: `gzip` or `zstd`
    #[arg(long, value_name = "NAME", value_parser = ["gzip", "zstd"])]
    pub(crate) compression: Option<String>,
    /// How hard layers are compressed; -1 is the usual
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    pub(crate) compression_level: Option<i32>,
    /// Make one layer of all that the build makes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) single_snapshot: Option<bool>,
    /// Set the times of the image to 1970, so that the same build gives the same digest
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) reproducible: Option<bool>,
    /// The registries of the destinations may be insecure. Before `kaniko` it is an option of the whole program
    // Of the type that the option of the whole program has, which carries the same name.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) insecure: Vec<String>,
    /// As `--insecure`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) skip_tls_verify: Option<bool>,
    /// All registries may be insecure
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) insecure_pull: Option<bool>,
    /// As `--insecure-pull`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) skip_tls_verify_pull: Option<bool>,
    /// This registry may be insecure; may be repeated
    #[arg(long, value_name = "HOST")]
    pub(crate) insecure_registry: Vec<String>,
    /// As `--insecure-registry`
    #[arg(long, value_name = "HOST")]
    pub(crate) skip_tls_verify_registry: Vec<String>,
    /// Certificate authority of a registry; may be repeated
    #[arg(long, value_name = "HOST=FILE")]
    pub(crate) registry_certificate: Vec<String>,
    /// Certificate and key to show to a registry; may be repeated
    #[arg(long, value_name = "HOST=CERT,KEY")]
    pub(crate) registry_client_cert: Vec<String>,
    /// Mirror of docker.io; may be repeated
    #[arg(long, value_name = "HOST[/PATH]")]
    pub(crate) registry_mirror: Vec<String>,
    /// Mirrors of registries: `docker.io=mirror.example;quay.io=other.example`
    #[arg(long, value_name = "MAP")]
    pub(crate) registry_map: Vec<String>,
    /// Do not ask a registry that has mirrors
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean)]
    pub(crate) skip_default_registry_fallback: Option<bool>,
    /// Of a git context: `branch=NAME`, `recurse-submodules=true`, `single-branch=true`
    #[arg(long, value_name = "OPTION")]
    pub(crate) git: Vec<String>,
    /// Where kaniko's settings are: `.docker/config.json` below it holds the credentials, unless `DOCKER_CONFIG` names
    /// another place [default: `KANIKO_DIR`, else /kaniko]
    #[arg(long, value_name = "DIR")]
    pub(crate) kaniko_dir: Option<String>,
    /// What is told
    #[arg(short, long, value_name = "LEVEL", ignore_case = true)]
    pub(crate) verbosity: Option<Verbosity>,
    /// How it is told
    #[arg(long, value_name = "FORMAT", default_value = "color")]
    pub(crate) log_format: LogFormat,
    /// What is told of flags that have nothing to do; the parser fills it in.
    #[arg(skip)]
    pub(crate) notes: Vec<String>,
}

/// `--verbosity`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verbosity {
    /// Only errors
    Panic,
    /// Only errors
    Fatal,
    /// Only errors
    Error,
    /// Only errors and warnings
    Warn,
    /// The build
    Info,
    /// Also what the program does
    Debug,
    /// Also what the program does
    Trace,
}

impl Verbosity {
    /// Whether only what went wrong is told.
    pub(crate) fn is_quiet(self) -> bool {
        matches!(self, Self::Panic | Self::Fatal | Self::Error | Self::Warn)
    }

    /// Whether the program tells what it does.
    pub(crate) fn is_debugging(self) -> bool {
        matches!(self, Self::Debug | Self::Trace)
    }
}

/// `--log-format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines
    Text,
    /// A live view on a terminal, else lines
    Color,
    /// A JSON object a line
    Json,
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it is `true` or `false`".to_owned()),
    }
}

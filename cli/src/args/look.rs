//! Arguments of the commands that look inside images, and of those that carry images in files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `rbuild ls`
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Name or id of an image; one that is not here is asked of its registry
    pub(crate) image: String,
    /// A path inside it
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// With mode, owner, size and time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// With all that is below
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// As JSON, one object a line
    #[arg(long, conflicts_with = "long")]
    pub(crate) json: bool,
}

/// `rbuild cat`
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// Name or id of an image; one that is not here is asked of its registry
    pub(crate) image: String,
    /// A file inside it
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
}

/// `rbuild tree`
#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// Name or id of an image; one that is not here is asked of its registry
    pub(crate) image: String,
    /// How many of the largest wasted files are listed
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) wasted: usize,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild diff`
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Name or id of the first image
    pub(crate) old: String,
    /// Name or id of the second
    pub(crate) new: String,
    /// Times of files count as well
    #[arg(long)]
    pub(crate) times: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild save`
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Names or ids of images
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What `docker load` reads, or the tar of an OCI layout
    #[arg(long, value_enum, default_value_t = ArchiveFormat::Docker)]
    pub(crate) format: ArchiveFormat,
}

/// Formats of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArchiveFormat {
    /// `manifest.json` of `docker save`
    Docker,
    /// An OCI image layout
    Oci,
}

/// `rbuild load`
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The archive to read, of `docker save` or an OCI layout; may be compressed [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Print nothing but ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `rbuild import`
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The tar of a filesystem: a file, a URL, or `-` for standard input; may be compressed
    pub(crate) source: String,
    /// The image's name
    pub(crate) name: Option<String>,
    /// An instruction that changes the configuration, 'CMD ["/bin/sh"]' for instance; may be repeated
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// The comment in the image's history [default: where the tar came from]
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// What the programs in it run on [default: this machine's platform]
    #[arg(long)]
    pub(crate) platform: Option<String>,
}

//! What was typed.

pub(crate) mod bake;
mod bake_flags;
pub(crate) mod build;
mod buildah_flags;
pub(crate) mod builds;
pub(crate) mod call;
mod docker_flags;
mod examples;
mod flag_table;
mod help;
pub(crate) mod image;
pub(crate) mod kaniko;
mod kaniko_flags;
pub(crate) mod look;
pub(crate) mod manual;
#[cfg(test)]
mod pages;
pub(crate) mod plan;
pub(crate) mod registry;
mod route;
pub(crate) mod run;
pub(crate) mod store;
pub(crate) mod toolkit;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use build::BuildArgs;
use call::CheckArgs;

/// Turns a Dockerfile into an OCI image, without a daemon and without root
#[derive(Debug, Parser)]
#[command(
    name = "rbuild",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "`rbuild -t app:1.0 .` is `rbuild build -t app:1.0 .`; `rbuild COMMAND --help` has examples"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct GlobalArgs {
    /// The store of images, layers and cache [default: $RBUILD_ROOT, else /var/lib/rbuild for root,
    /// else $XDG_DATA_HOME/rbuild]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) root: Option<PathBuf>,
    /// Who says which digest a tag names where a registry has mirrors: the `first` to answer, `upstream`,
    /// or a `mirror` only [default: $RBUILD_RESOLVE, else first]
    #[arg(long, global = true, value_name = "WHO", help_heading = "Global options")]
    pub(crate) resolve: Option<ResolveArg>,
    /// Trust the certificate authorities of this PEM file too; may be repeated
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) cacert: Vec<PathBuf>,
    /// Show this certificate (PEM) to registries that ask for one; with `--key`
    #[arg(long, global = true, value_name = "FILE", requires = "key", help_heading = "Global options")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of `--cert`
    #[arg(long, global = true, value_name = "FILE", requires = "cert", help_heading = "Global options")]
    pub(crate) key: Option<PathBuf>,
    /// Reach this registry without verified TLS, or by plain http; may be repeated. A host, `host:port`, a
    /// network, or `*` for all
    #[arg(long, global = true, value_name = "HOST", help_heading = "Global options")]
    pub(crate) insecure: Vec<String>,
    /// Rules for registries that come before those of all files, in the form of `registries.toml`: a command's own
    /// options can say them.
    #[arg(skip)]
    pub(crate) registries: Option<String>,
    /// Log what the program does to standard error
    #[arg(short = 'D', long, global = true, help_heading = "Global options")]
    pub(crate) debug: bool,
}

/// Values of `--resolve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResolveArg {
    /// The first endpoint that has the tag, mirrors before upstream
    First,
    /// Upstream; mirrors only when it cannot be reached
    Upstream,
    /// Mirrors only, where there are any
    Mirror,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    #[command(alias = "bud")]
    Build(Box<BuildArgs>),
    /// Build the targets of bake and compose files
    Bake(Box<bake::BakeArgs>),
    /// Build an image, with the arguments of kaniko's executor
    Kaniko(Box<kaniko::KanikoArgs>),
    /// Check a Dockerfile and build nothing
    Check(Box<CheckArgs>),
    /// Run a command in an image; what it changes is gone with it
    Run(Box<run::RunArgs>),
    /// Say what a build would do, and do nothing
    Plan(Box<plan::PlanArgs>),
    /// Say why the steps of the last build were done again or not
    Why(plan::WhyArgs),
    /// List images
    Images(image::ImagesArgs),
    /// Give an image another name
    Tag(image::TagArgs),
    /// Remove images by name or id
    Rmi(image::RmiArgs),
    /// Show all that is known of images, as JSON
    Inspect(image::InspectArgs),
    /// Show how an image came to be, or without one the builds of the past
    History(image::HistoryArgs),
    /// Print the whole log of a build
    Logs(builds::LogsArgs),
    /// Write a page with the timeline of a build
    Report(builds::ReportArgs),
    /// List files of an image
    Ls(look::LsArgs),
    /// Print files of an image
    Cat(look::CatArgs),
    /// Show what each layer of an image added, and what of it is wasted
    Tree(look::TreeArgs),
    /// Show what differs between two images
    Diff(look::DiffArgs),
    /// Write images into an archive
    Save(look::SaveArgs),
    /// Take images out of an archive
    Load(look::LoadArgs),
    /// Make an image of the tar of a filesystem
    Import(look::ImportArgs),
    /// Fetch an image from a registry
    Pull(image::PullArgs),
    /// Send an image to a registry
    Push(image::PushArgs),
    #[command(flatten)]
    Toolkit(Toolkit),
    /// Store credentials for a registry
    Login(image::LoginArgs),
    /// Remove the credentials for a registry
    Logout(image::LogoutArgs),
    /// Look at the mirrors of registries
    #[command(subcommand)]
    Mirrors(registry::MirrorsCommand),
    /// Remove what no image and no cache needs
    Prune(store::PruneArgs),
    /// Show what takes how much of the disk
    Du(store::DuArgs),
    /// Look after the store
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Show what this machine allows a build to do, and why
    Doctor(image::DoctorArgs),
    /// Show the program, the store, the machine and the settings in use
    Info(store::InfoArgs),
    /// Print a script that completes commands in a shell
    Completion(manual::CompletionArgs),
    /// Print manual pages
    Man(manual::ManArgs),
    /// Show the version
    Version(store::VersionArgs),
    /// Image commands under Docker's newer names
    #[command(subcommand, hide = true)]
    Image(ImageCommand),
    /// System commands under Docker's names
    #[command(subcommand, hide = true)]
    System(SystemCommand),
}

/// Images of registries, layouts and archives, without a build.
#[derive(Debug, Subcommand)]
pub(crate) enum Toolkit {
    /// Copy images between registries, layouts, archives and the store
    Copy(toolkit::CopyArgs),
    /// List the tags of a repository
    Tags(toolkit::TagsArgs),
    /// Show the manifest of an image wherever it is
    #[command(subcommand)]
    Manifest(toolkit::ManifestCommand),
    /// Make an image for several platforms of single ones, or change one
    #[command(subcommand)]
    Index(toolkit::IndexCommand),
    /// Fetch or put single blobs
    #[command(subcommand)]
    Blob(toolkit::BlobCommand),
    /// Put layers on top of an image
    Append(toolkit::AppendArgs),
    /// Change an image's labels, environment, entry point and the like
    Mutate(Box<toolkit::MutateArgs>),
    /// Exchange the base below an image
    Rebase(toolkit::RebaseArgs),
    /// Make one layer of all layers of an image
    Flatten(toolkit::FlattenArgs),
    /// Write the files of an image as a tar or into a directory
    Export(toolkit::ExportArgs),
    /// Delete tags or manifests from a registry
    Delete(toolkit::DeleteArgs),
    /// List what refers to an image: signatures, SBOMs, attestations
    Referrers(toolkit::ReferrersArgs),
    /// Attach files to an image as an artifact
    Attach(toolkit::AttachArgs),
    /// Search Docker Hub
    Search(toolkit::SearchArgs),
    /// Show whose credentials a registry is used with
    Whoami(toolkit::WhoamiArgs),
}

/// `rbuild image …`, as in Docker.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// List images
    #[command(alias = "list")]
    Ls(image::ImagesArgs),
    /// Give an image another name
    Tag(image::TagArgs),
    /// Remove images by name or id
    #[command(alias = "remove")]
    Rm(image::RmiArgs),
    /// Show all that is known of images, as JSON
    Inspect(image::InspectArgs),
    /// Show how an image came to be
    History(image::HistoryArgs),
    /// Fetch an image from a registry
    Pull(image::PullArgs),
    /// Send an image to a registry
    Push(image::PushArgs),
    /// Write images into an archive
    Save(look::SaveArgs),
    /// Take images out of an archive
    Load(look::LoadArgs),
    /// Make an image of the tar of a filesystem
    Import(look::ImportArgs),
    /// Remove what no image and no cache needs
    Prune(store::PruneArgs),
}

/// `rbuild system …`, as in Docker.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes how much of the disk
    #[command(alias = "du")]
    Df(store::DuArgs),
    /// Show the program, the store, the machine and the settings in use
    Info(store::InfoArgs),
    /// Remove what no image and no cache needs
    Prune(store::PruneArgs),
}

impl Command {
    /// The same command under its first name.
    fn plain(self) -> Self {
        match self {
            Self::Image(command) => match command {
                ImageCommand::Build(args) => Self::Build(args),
                ImageCommand::Ls(args) => Self::Images(args),
                ImageCommand::Tag(args) => Self::Tag(args),
                ImageCommand::Rm(args) => Self::Rmi(args),
                ImageCommand::Inspect(args) => Self::Inspect(args),
                ImageCommand::History(args) => Self::History(args),
                ImageCommand::Pull(args) => Self::Pull(args),
                ImageCommand::Push(args) => Self::Push(args),
                ImageCommand::Save(args) => Self::Save(args),
                ImageCommand::Load(args) => Self::Load(args),
                ImageCommand::Import(args) => Self::Import(args),
                ImageCommand::Prune(args) => Self::Prune(args),
            },
            Self::System(SystemCommand::Prune(args)) | Self::Store(store::StoreCommand::Prune(args)) => {
                Self::Prune(args)
            }
            Self::System(SystemCommand::Df(args)) | Self::Store(store::StoreCommand::Du(args)) => {
                Self::Du(args)
            }
            Self::System(SystemCommand::Info(args)) => Self::Info(args),
            other => other,
        }
    }
}

/// The definition of the whole command line: what is derived, and the flags of `docker build` that are refused or
/// have nothing to do.
pub(crate) fn definition() -> clap::Command {
    let with_refused = |build: clap::Command| build.args(flag_table::arguments(docker_flags::FLAGS));
    let with_buildahs = |build: clap::Command| build.args(flag_table::arguments(buildah_flags::own()));
    let program = Cli::command()
        .mut_subcommand("build", |build| with_buildahs(with_refused(build)))
        .mut_subcommand("check", |check| {
            // What is checked is mostly what lies here.
            with_refused(check).mut_arg("context", |context| context.required(false).default_value("."))
        })
        .mut_subcommand("plan", with_refused)
        .mut_subcommand("bake", |bake| bake.args(flag_table::arguments(bake_flags::FLAGS)))
        .mut_subcommand("kaniko", |kaniko| {
            // The last of several values counts, as in kaniko.
            kaniko.args(flag_table::arguments(kaniko_flags::FLAGS)).args_override_self(true)
        })
        .mut_subcommand("image", |image| {
            image.mut_subcommand("build", |build| with_buildahs(with_refused(build)))
        });
    help::complete(program)
}

/// Reads a command line.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut definition = definition();
    let words = route::with_command(words.into_iter().collect(), &definition)
        .map_err(|mistake| definition.error(clap::error::ErrorKind::InvalidSubcommand, mistake))?;
    let matches = definition.try_get_matches_from_mut(words)?;
    if let Some(refusal) = refusal(&matches) {
        return Err(definition.error(clap::error::ErrorKind::UnknownArgument, refusal));
    }
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.command = cli.command.plain();
    if let (Command::Kaniko(kaniko), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        kaniko.notes = flag_table::notes(kaniko_flags::FLAGS, matches);
        cli.global.debug |= kaniko.verbosity.is_some_and(kaniko::Verbosity::is_debugging);
    }
    Ok(cli)
}

/// Why a command with flags of another program is refused.
fn refusal(matches: &clap::ArgMatches) -> Option<String> {
    let of_build = |build| {
        let flags = docker_flags::FLAGS.iter().chain(buildah_flags::own());
        flag_table::refusal(flags, build)
    };
    match matches.subcommand()? {
        ("build", build) => of_build(build),
        ("image", image) => of_build(image.subcommand_matches("build")?),
        ("check" | "plan", build) => flag_table::refusal(docker_flags::FLAGS, build),
        ("bake", bake) => flag_table::refusal(bake_flags::FLAGS, bake),
        ("kaniko", kaniko) => flag_table::refusal(kaniko_flags::FLAGS, kaniko),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, String> {
        let words = std::iter::once("rbuild").chain(line.split_whitespace()).map(OsString::from);
        parse(words).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn a_build_needs_no_command() {
        for line in [
            "build -t app:1.0 .",
            "-t app:1.0 .",
            "-t images .",
            "--debug -t app:1.0 .",
            "image build -t a .",
        ] {
            assert!(matches!(command(line), Ok(Command::Build(_))), "{line}");
        }
        assert!(matches!(command("images"), Ok(Command::Images(_))));
        assert!(matches!(command("image ls"), Ok(Command::Images(_))));
        assert!(matches!(
            command("--insecure a --cacert b copy c d"),
            Ok(Command::Toolkit(Toolkit::Copy(_)))
        ));
        assert!(matches!(command("--root /tmp/x images -q"), Ok(Command::Images(_))));
    }

    #[test]
    fn a_mistyped_command_is_no_context() {
        let message = command("imags").unwrap_err();
        assert!(message.contains("`imags`") && message.contains("`images`"), "{message}");
    }

    #[test]
    fn under_kanikos_name_the_words_are_kanikos() {
        let words = ["/kaniko/executor", "--context", "dir:///src", "--no-push"].map(OsString::from);
        assert!(
            matches!(parse(words).unwrap().command, Command::Kaniko(args) if args.context == "dir:///src")
        );
    }

    #[test]
    fn a_refused_flag_says_why() {
        let message = command("build --policy=p.rego .").unwrap_err();
        assert!(message.contains("`--policy`"), "{message}");
        let message = command("bud --layers --tls-verify=false .").unwrap_err();
        assert!(message.contains("`--insecure HOST`"), "{message}");
        let message = command("build --creds a:b .").unwrap_err();
        assert!(message.contains("`rbuild login`"), "{message}");
        for line in ["bud --layers --retry 3 .", "build --tls-verify .", "build --tls-verify=true --squash ."]
        {
            assert!(matches!(command(line), Ok(Command::Build(_))), "{line}");
        }
    }
}

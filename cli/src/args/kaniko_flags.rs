//! The flags of kaniko's executor, and those that its successors added, each with what becomes of it in `rbuild kaniko`.

use super::flag_table::{Flag, nothing, refused, works};

const RETRIES: &str = "what is worth another try is tried again by itself";
const OWN_FILESYSTEM: &str = "a build has its own filesystem and changes nothing of the one that it runs in";
const SNAPSHOTS: &str = "no snapshot is taken: a layer is what the step wrote, whatever its times";

/// Every flag, by name.
pub(crate) const FLAGS: &[Flag] = &[
    works("annotation"),
    Flag {
        short: Some('b'),
        ..refused(
            "bucket",
            true,
            "contexts of object stores are not read; fetch it first and give `--context tar://FILE`",
        )
    },
    works("build-arg"),
    works("cache"),
    nothing(
        "cache-copy-layers",
        false,
        "COPY is known by the content that it copies, with and without a shared cache",
    ),
    nothing("cache-dir", true, "base images are kept in the store, which `RBUILD_ROOT` places"),
    works("cache-repo"),
    works("cache-run-layers"),
    works("cache-ttl"),
    nothing("cleanup", false, OWN_FILESYSTEM),
    nothing("compressed-caching", false, "layers are compressed as they travel and take no memory for it"),
    works("compression"),
    works("compression-level"),
    works("context"),
    works("context-sub-path"),
    nothing("credential-helpers", true, "the helpers that `config.json` names are asked, as Docker does"),
    works("custom-platform"),
    works("customPlatform"),
    works("destination"),
    works("digest-file"),
    works("dockerfile"),
    refused("dryrun", false, "`rbuild plan` says what a build would do"),
    nothing("force", false, "a build is as safe outside of a container as inside"),
    nothing(
        "force-build-metadata",
        false,
        "instructions without files stand in the configuration and its history",
    ),
    works("git"),
    nothing(
        "ignore-path",
        true,
        "what this machine mounts never gets into a layer; for paths that RUN itself writes there is `RUN --mount=type=tmpfs`",
    ),
    nothing(
        "ignore-var-run",
        false,
        "what this machine has in /var/run never gets into a layer; what RUN writes there does",
    ),
    nothing("image-download-retry", true, RETRIES),
    refused("image-format", true, "images are OCI's; `rbuild copy` writes Docker's archives"),
    nothing("image-fs-extract-retry", true, RETRIES),
    works("image-name-tag-with-digest-file"),
    works("image-name-with-digest-file"),
    works("insecure"),
    works("insecure-pull"),
    works("insecure-registry"),
    works("kaniko-dir"),
    works("label"),
    works("log-format"),
    nothing(
        "log-timestamp",
        false,
        "every line has its seconds since the step began, and `rbuild report` has the times",
    ),
    nothing("materialize", false, OWN_FILESYSTEM),
    works("no-push"),
    works("no-push-cache"),
    works("oci-layout-path"),
    nothing("pre-cleanup", false, OWN_FILESYSTEM),
    nothing("preserve-context", false, OWN_FILESYSTEM),
    refused(
        "push-ignore-immutable-tag-errors",
        false,
        "a push that the registry refuses fails; push a tag that is not taken, or look with `rbuild tags` before",
    ),
    nothing("push-retry", true, RETRIES),
    works("registry-certificate"),
    works("registry-client-cert"),
    works("registry-map"),
    works("registry-mirror"),
    works("reproducible"),
    works("secret"),
    works("single-snapshot"),
    works("skip-default-registry-fallback"),
    nothing("skip-push-permission-check", false, "there is no such check before the build"),
    works("skip-tls-verify"),
    works("skip-tls-verify-pull"),
    works("skip-tls-verify-registry"),
    nothing("skip-unused-stages", false, "stages that the image does not need are never built"),
    nothing("snapshot-mode", true, SNAPSHOTS),
    nothing("snapshotMode", true, SNAPSHOTS),
    works("tar-path"),
    works("tarPath"),
    works("target"),
    nothing("use-new-run", false, SNAPSHOTS),
    works("verbosity"),
    nothing(
        "whitelist-var-run",
        false,
        "what this machine has in /var/run never gets into a layer; what RUN writes there does",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::flag_table;

    #[test]
    fn the_table_the_parser_and_the_manual_agree() {
        flag_table::check(super::FLAGS, "kaniko", include_str!("../../../docs/from-kaniko.md"));
    }
}

//! The flags of `docker build` and `docker buildx build`, each with what becomes of it here. This is the one table:
//! the command line refuses by it, and `docs/cli.md` is checked against it.

use super::flag_table::{Flag, nothing, refused, works};

/// Every flag of `docker build` and `docker buildx build`, by name.
pub(crate) const FLAGS: &[Flag] = &[
    works("add-host"),
    works("allow"),
    works("annotation"),
    works("attest"),
    works("build-arg"),
    works("build-context"),
    nothing("builder", true, "there is one builder, this program"),
    works("cache-from"),
    works("cache-to"),
    works("call"),
    works("cgroup-parent"),
    works("check"),
    nothing("compress", false, "the context is read where it lies and never sent"),
    works("cpu-period"),
    works("cpu-quota"),
    works("cpu-shares"),
    works("cpuset-cpus"),
    works("cpuset-mems"),
    nothing("disable-content-trust", false, "content trust of notary was switched off in Docker too"),
    works("file"),
    nothing("force-rm", false, "nothing is left behind by a step, whether it fails or not"),
    works("iidfile"),
    works("isolation"),
    works("label"),
    works("load"),
    works("memory"),
    works("memory-swap"),
    works("metadata-file"),
    works("network"),
    works("no-cache"),
    works("no-cache-filter"),
    works("output"),
    works("platform"),
    refused("policy", true, "policies are not evaluated; check the Dockerfile with `rbuild build --check`"),
    works("progress"),
    works("provenance"),
    works("pull"),
    works("push"),
    works("quiet"),
    refused("resource", true, "name each limit by its own flag: `--memory`, `--cpu-quota`, `--cpuset-cpus`"),
    nothing("rm", false, "nothing is left behind by a step"),
    works("sbom"),
    works("secret"),
    works("security-opt"),
    works("shm-size"),
    works("squash"),
    works("ssh"),
    works("tag"),
    works("target"),
    works("ulimit"),
];

#[cfg(test)]
mod tests {
    use super::super::flag_table;

    #[test]
    fn the_table_the_parser_and_the_manual_agree() {
        flag_table::check(super::FLAGS, "build", include_str!("../../../docs/cli.md"));
    }
}

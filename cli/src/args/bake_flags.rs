//! The flags of `docker buildx bake`, each with what becomes of it in `rbuild bake`.

use super::flag_table::{Flag, nothing, refused, works};

/// Every flag, by name.
pub(crate) const FLAGS: &[Flag] = &[
    works("allow"),
    nothing("builder", true, "there is one builder, this program"),
    works("call"),
    works("check"),
    works("file"),
    works("list"),
    works("load"),
    works("metadata-file"),
    works("no-cache"),
    refused("policy", true, "policies are not evaluated; check the Dockerfiles with `rbuild bake --check`"),
    works("print"),
    works("progress"),
    works("provenance"),
    works("pull"),
    works("push"),
    works("sbom"),
    works("set"),
    works("var"),
];

#[cfg(test)]
mod tests {
    use super::super::flag_table;

    #[test]
    fn the_table_the_parser_and_the_manual_agree() {
        flag_table::check(super::FLAGS, "bake", include_str!("../../../docs/bake.md"));
    }
}

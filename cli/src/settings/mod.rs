//! What is meant: the command line, the environment and settings files together. Only this module reads the
//! environment; everything else is told.

mod annotations;
mod attest;
pub(crate) mod bake;
mod build;
mod cache;
mod environment;
pub(crate) mod kaniko;
mod output;
pub(crate) mod prune;
mod registry;
mod sandbox;
mod values;

use std::path::PathBuf;

pub(crate) use build::{
    ContextPlace, is_url, isolation, named_addresses, network, output_packing, packing, place, request,
    source_date_epoch,
};
pub(crate) use environment::Environment;
pub(crate) use registry::{client_settings, login_file, platform};
pub(crate) use sandbox::settings as sandbox;
pub(crate) use values::bytes;

use crate::args::GlobalArgs;
use crate::failure::{Failure, Result};

/// The store that a command works on.
pub(crate) fn store_root(args: &GlobalArgs, environment: &Environment) -> Result<PathBuf> {
    if let Some(root) = &args.root {
        return Ok(root.clone());
    }
    if let Some(root) = environment.path("RBUILD_ROOT") {
        return Ok(root);
    }
    if environment.root_user {
        return Ok(PathBuf::from("/var/lib/rbuild"));
    }
    let data = environment.path("XDG_DATA_HOME").or_else(|| Some(environment.home()?.join(".local/share")));
    data.map(|data| data.join("rbuild")).ok_or_else(|| {
        Failure::new(
            "there is no place for the store: neither `RBUILD_ROOT`, `XDG_DATA_HOME` nor `HOME` is set",
        )
        .hint("set `RBUILD_ROOT` to a directory that may be written")
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn root(option: Option<&str>, root_user: bool, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let args = GlobalArgs { root: option.map(PathBuf::from), ..GlobalArgs::default() };
        store_root(&args, &Environment::fake(root_user, variables)).ok()
    }

    #[test]
    fn the_store_is_where_the_nearest_setting_says() {
        let all = [("RBUILD_ROOT", "/r"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(root(Some("/o"), true, &all).as_deref(), Some(Path::new("/o")));
        assert_eq!(root(None, true, &all).as_deref(), Some(Path::new("/r")));
        assert_eq!(root(None, true, &all[1..]).as_deref(), Some(Path::new("/var/lib/rbuild")));
        assert_eq!(root(None, false, &all[1..]).as_deref(), Some(Path::new("/x/rbuild")));
        assert_eq!(root(None, false, &all[2..]).as_deref(), Some(Path::new("/h/.local/share/rbuild")));
        assert_eq!(root(None, false, &[]), None);
        assert_eq!(
            root(None, false, &[("RBUILD_ROOT", ""), ("HOME", "/h")]).as_deref(),
            Some(Path::new("/h/.local/share/rbuild"))
        );
    }
}

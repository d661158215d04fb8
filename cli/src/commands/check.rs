//! `rbuild build --check`

use builder::dockerfile::Diagnostic;

use super::tell;
use crate::args::build::BuildArgs;
use crate::failure::{Failure, Result};
use crate::place;
use crate::settings::{self, Environment};

/// Says what is wrong or doubtful in the Dockerfile. Findings make it fail, as in Docker.
pub(super) fn run(args: &BuildArgs, environment: &Environment) -> Result<()> {
    let request = settings::request(args, environment)?;
    let findings = builder::check::check(&request).map_err(|error| Failure::of(&error).hint(error.hint()))?;
    for finding in &findings {
        tell(&place::diagnostic(&request.dockerfile, finding));
    }
    let errors = findings.iter().filter(|finding| Diagnostic::is_error(finding)).count();
    let name = &request.dockerfile.name;
    match findings.len() {
        0 => {
            tell(&format!("`{name}`: nothing found"));
            Ok(())
        }
        all => Err(Failure::new(format!("`{name}` has {errors} errors and {} warnings", all - errors))),
    }
}

//! `rbuild login` and `rbuild logout`

use super::Context;
use crate::args::image::{LoginArgs, LogoutArgs};
use crate::failure::{Failure, Result};

/// Stores credentials where Docker does.
pub(super) async fn login(_context: &Context, _args: LoginArgs) -> Result<()> {
    Err(Failure::new("`rbuild login` is not there yet")
        .hint("credentials of `docker login` and `skopeo login` are used"))
}

/// Removes credentials.
pub(super) fn logout(_context: &Context, _args: &LogoutArgs) -> Result<()> {
    Err(Failure::new("`rbuild logout` is not there yet"))
}

//! Trying credentials.

use reqwest::Method;

use crate::auth::scope::Scopes;
use crate::auth::{Found, Secret};
use crate::client::Client;
use crate::error::{Error, Operation, Place};
use crate::reference::Reference;
use crate::transport::{Call, Target};

impl Client {
    /// Whether the registry of `domain` (`docker.io`, `registry.example:5000`) knows the user by this password: asks for
    /// its front page with them and no others. `Ok` means that they were accepted. Nothing is stored.
    ///
    /// A registry that asks nobody who they are accepts everything; there is no way to tell.
    pub async fn try_login(&self, domain: &str, user: &str, password: &str) -> Result<(), Error> {
        let reference = Reference::parse(&format!("{domain}/x"))?;
        let plan = self.settings().hosts.plan(&reference)?;
        let Some(upstream) = plan.upstream() else { return Ok(()) };
        let endpoint =
            crate::hosts::Endpoint { repository: String::new(), has_alternatives: false, ..upstream.clone() };
        let secret = Secret::Password { user: user.to_owned(), password: password.to_owned() };
        let found = Found { secret, source: "what was typed".to_owned(), renewable: false };
        self.transport.credentials.set(&endpoint.credentials, "", found);
        let place = Place {
            operation: Operation::Login,
            host: endpoint.authority.clone(),
            reference: domain.to_owned(),
            digest: None,
        };
        let mut call = Call::new(&endpoint, place.clone(), Method::GET, "");
        call.target = Target::Root;
        call.scopes = Scopes::default();
        let answer = self.transport.send(&call).await?;
        if !answer.status.is_success() {
            return Err(answer.refused(&place));
        }
        answer.drain(&place, self.settings().idle_timeout).await;
        Ok(())
    }
}

//! Trying credentials.

use reqwest::Method;

use crate::auth::scope::Scopes;
use crate::auth::{Found, Secret};
use crate::client::Client;
use crate::error::{Error, Operation, Place};
use crate::reference::Reference;
use crate::transport::{Call, Target};

/// Whose credentials are used at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user, where the credentials say one.
    pub user: Option<String>,
    /// Where they come from: `/home/jane/.docker/config.json`, `docker-credential-pass`, ….
    pub source: String,
}

impl Client {
    /// Whose credentials are used for the reference's repository; `None`: nobody's, the client goes anonymously. They are
    /// tried: asks the registry's front page with them, and an error says that they are not taken.
    pub async fn whoami(&self, reference: &Reference) -> Result<Option<Account>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let Some(upstream) = plan.upstream() else { return Ok(None) };
        let repository = upstream.repository.clone();
        let found = self.transport.credentials.find(&upstream.credentials, &repository, false).await;
        let found =
            found.map_err(|source| Error::Credentials { host: upstream.credentials.clone(), source })?;
        let Some(Found { secret, source, .. }) = found else { return Ok(None) };
        let user = match secret {
            Secret::Password { user, .. } => Some(user),
            Secret::Identity { user, .. } => user,
            Secret::Registry { .. } => None,
        };
        let endpoint = crate::hosts::Endpoint { has_alternatives: false, ..upstream.clone() };
        self.greet_with(&endpoint, reference.domain()).await?;
        Ok(Some(Account { user, source }))
    }

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
        self.greet_with(&endpoint, domain).await
    }

    /// Asks for the front page with the credentials that are known for the endpoint, and no others.
    async fn greet_with(&self, endpoint: &crate::hosts::Endpoint, domain: &str) -> Result<(), Error> {
        let place = Place {
            operation: Operation::Login,
            host: endpoint.authority.clone(),
            reference: domain.to_owned(),
            digest: None,
        };
        let mut call = Call::new(endpoint, place.clone(), Method::GET, "");
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

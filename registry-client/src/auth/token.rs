//! Tokens: `Authorization` for a request, by the challenge that the host gave (distribution-spec, token.md and oauth2.md).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::challenge::{self, Challenge};
use super::scope::Scopes;
use super::{Found, Secret};
use crate::error::{Authorized, Error, Operation, Place};
use crate::hosts::{Endpoint, address_of, authority_of};
use crate::transport::{Answer, Body, HostState, Transport, backoff, target};

/// No token answer is larger.
const LARGEST_ANSWER: u64 = 128 << 10;
/// What the specification says where `expires_in` is absent; zero is taken for absent.
const DEFAULT_LIFETIME: u64 = 60;
const TRIES: u32 = 3;
const CLIENT_ID: &str = "rbuild";

/// A token and what it is good for.
pub(crate) struct Token {
    scopes: Scopes,
    until: Instant,
    ticket: Ticket,
}

/// An `Authorization` header and how it came about.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) header: HeaderValue,
    pub(crate) trace: Arc<Authorized>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("trace", &self.trace).finish_non_exhaustive()
    }
}

/// What a ticket is wanted for.
pub(crate) struct Wanted<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) place: &'a Place,
    /// The registry's own address: relative realms are read against it.
    pub(crate) base: &'a Url,
    pub(crate) scopes: &'a Scopes,
    /// The header that the registry has just refused.
    pub(crate) refused: Option<&'a HeaderValue>,
}

impl Transport {
    /// What to send along, by what is known of the host: `None` before its first challenge, and where there are no
    /// credentials for a Basic challenge.
    pub(crate) async fn ticket(
        &self,
        state: &HostState,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Ticket>, Error> {
        let challenges = state.challenges();
        let Some(chosen) = challenge::preferred(&challenges) else { return Ok(None) };
        let found = self.credentials(wanted, false).await?;
        if let Some(Found { secret: Secret::Registry { token }, .. }) = &found {
            return Ok(Some(bearer(token, found.as_ref(), Vec::new())));
        }
        if chosen.scheme == "basic" {
            return self.basic(wanted, found).await;
        }
        let mut tokens = state.tokens.lock().await;
        let now = Instant::now();
        tokens.retain(|token| token.until > now && Some(&token.ticket.header) != wanted.refused);
        if let Some(token) = tokens.iter().find(|token| token.scopes.covers(wanted.scopes)) {
            return Ok(Some(token.ticket.clone()));
        }
        let token = self.token(wanted, chosen, found).await?;
        let ticket = token.ticket.clone();
        tokens.push(token);
        Ok(Some(ticket))
    }

    async fn credentials(&self, wanted: &Wanted<'_>, again: bool) -> Result<Option<Found>, Error> {
        let Endpoint { credentials: host, repository, .. } = wanted.endpoint;
        let found = self.credentials.find(host, repository, again).await;
        found.map_err(|source| Error::Credentials { host: host.clone(), source })
    }

    async fn basic(&self, wanted: &Wanted<'_>, found: Option<Found>) -> Result<Option<Ticket>, Error> {
        let Some(found) = found else { return Ok(None) };
        let Some(ticket) = basic_ticket(&found) else { return Ok(None) };
        if Some(&ticket.header) != wanted.refused {
            return Ok(Some(ticket));
        }
        // A helper may have something newer than what was just refused.
        let renewed = if found.renewable { self.credentials(wanted, true).await? } else { None };
        Ok(renewed.as_ref().and_then(basic_ticket).filter(|ticket| Some(&ticket.header) != wanted.refused))
    }

    async fn token(
        &self,
        wanted: &Wanted<'_>,
        chosen: &Challenge,
        found: Option<Found>,
    ) -> Result<Token, Error> {
        let realm = realm(self, wanted, chosen)?;
        let failed = |error: Error| Error::Token {
            place: Box::new(wanted.place.clone()),
            realm: target::origin(&realm),
            source: Box::new(error),
        };
        let service = chosen.parameter("service");
        let mut found = found;
        let mut renewed = false;
        loop {
            let error = match self.exchange(wanted, &realm, service, found.as_ref()).await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            let Some(refused) = found.take().filter(|_| matches!(error.status(), Some(400 | 401 | 403)))
            else {
                return Err(failed(error));
            };
            if refused.renewable && !renewed {
                renewed = true;
                found = self.credentials(wanted, true).await?.filter(|new| *new != refused);
                if found.is_some() {
                    continue;
                }
            }
            if !wanted.scopes.only_pull() || wanted.place.operation == Operation::Login {
                return Err(failed(error));
            }
            // A public image can be had without them; stale credentials should not stand in its way.
            let Ok(token) = self.exchange(wanted, &realm, service, None).await else {
                return Err(failed(error));
            };
            self.notice_once(&format!(
                "`{}` refuses {}; going on without credentials",
                wanted.endpoint.credentials,
                refused.describe()
            ));
            return Ok(token);
        }
    }

    /// One exchange with the token server: GET with Basic credentials or none; POST with an identity token, and GET where
    /// the server knows no POST.
    async fn exchange(
        &self,
        wanted: &Wanted<'_>,
        realm: &Url,
        service: Option<&str>,
        found: Option<&Found>,
    ) -> Result<Token, Error> {
        let asked = wanted.scopes.texts(&wanted.endpoint.repository);
        let mut answer = None;
        if let Some(Found { secret: Secret::Identity { token, .. }, .. }) = found {
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, form_type)]);
            let body = Body::Bytes(refresh_form(token, service, &asked).into());
            let posted = self.ask(wanted, Method::POST, realm, &headers, &body).await?;
            answer = (posted.status != StatusCode::NOT_FOUND
                && posted.status != StatusCode::METHOD_NOT_ALLOWED)
                .then_some(posted);
        }
        let answer = match answer {
            Some(answer) => answer,
            None => {
                let url = with_query(realm, service, &asked);
                let ticket = found.and_then(|found| match &found.secret {
                    Secret::Identity { user, token } => {
                        Some(basic_header(user.as_deref().unwrap_or("<token>"), token))
                    }
                    _ => basic_ticket(found).map(|ticket| ticket.header),
                });
                let headers = ticket.map(|header| (AUTHORIZATION, header)).into_iter().collect();
                self.ask(wanted, Method::GET, &url, &headers, &Body::Empty).await?
            }
        };
        if !answer.status.is_success() {
            return Err(answer.refused(wanted.place));
        }
        let bytes = answer.read(wanted.place, LARGEST_ANSWER, self.settings.idle_timeout).await?;
        let unusable =
            |reason: &str| Error::Answer { place: Box::new(wanted.place.clone()), reason: reason.to_owned() };
        let reply: Reply = serde_json::from_slice(&bytes)
            .map_err(|_| unusable("the token server's answer is not what it should be"))?;
        let token = [reply.token, reply.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or_else(|| unusable("the token server's answer holds no token"))?;
        if HeaderValue::from_str(&token).is_err() {
            return Err(unusable("the token server's answer holds a token that no header can carry"));
        }
        let lifetime =
            Duration::from_secs(reply.expires_in.filter(|s| *s > 0).unwrap_or(DEFAULT_LIFETIME).min(86_400));
        // Used until a little before its end, since a clock and a long request stand between.
        let until = Instant::now() + lifetime - (lifetime / 4).min(Duration::from_secs(10));
        Ok(Token { scopes: wanted.scopes.clone(), until, ticket: bearer(&token, found, asked) })
    }

    async fn ask(
        &self,
        wanted: &Wanted<'_>,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        body: &Body,
    ) -> Result<Answer, Error> {
        let mut again = 0;
        loop {
            let result = self.follow(wanted.endpoint, wanted.place, method.clone(), url, headers, body).await;
            let passing = match &result {
                Ok(answer) => crate::error::is_passing_status(answer.status.as_u16()),
                Err(error) => error.is_passing(),
            };
            again += 1;
            if !passing || again >= TRIES {
                return result;
            }
            tokio::time::sleep(backoff(again)).await;
        }
    }
}

#[derive(Deserialize)]
struct Reply {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// The token server's address. It is the registry's word, and credentials go there: TLS unless the registry itself has
/// none, and no address inside a private network unless the registry is in one.
fn realm(transport: &Transport, wanted: &Wanted<'_>, chosen: &Challenge) -> Result<Url, Error> {
    let text = chosen.parameter("realm").unwrap_or_default();
    let refuse =
        |target: String, reason| Error::Target { place: Box::new(wanted.place.clone()), target, reason };
    let url = wanted
        .base
        .join(text)
        .map_err(|_| refuse(text.chars().take(100).collect(), "which is no address"))?;
    let hosts = &transport.settings.hosts;
    target::check(hosts, wanted.base, &url).map_err(|reason| refuse(target::origin(&url), reason))?;
    let private = |authority: Option<String>| {
        authority.as_deref().and_then(address_of).is_some_and(|address| match address {
            std::net::IpAddr::V4(v4) => v4.is_private() || v4.is_loopback(),
            std::net::IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
        })
    };
    let own_network = private(authority_of(wanted.base)) || hosts.is_insecure(&wanted.endpoint.authority);
    if private(authority_of(&url)) && !own_network {
        return Err(refuse(target::origin(&url), "which is an address in a private network"));
    }
    Ok(url)
}

fn refresh_form(token: &str, service: Option<&str>, asked: &[String]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT_ID);
    form.append_pair("service", service.unwrap_or_default()).append_pair("scope", &asked.join(" "));
    form.append_pair("refresh_token", token);
    form.finish()
}

fn with_query(realm: &Url, service: Option<&str>, asked: &[String]) -> Url {
    let mut url = realm.clone();
    let pairs = service.map(|service| ("service", service)).into_iter();
    url.query_pairs_mut().extend_pairs(pairs.chain(asked.iter().map(|scope| ("scope", scope.as_str()))));
    url
}

fn basic_header(user: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    // Base64 is always a valid header value.
    let mut header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

fn basic_ticket(found: &Found) -> Option<Ticket> {
    let Secret::Password { user, password } = &found.secret else { return None };
    let trace = Authorized { credentials: Some(found.describe()), ..Authorized::default() };
    Some(Ticket { header: basic_header(user, password), trace: Arc::new(trace) })
}

fn bearer(token: &str, found: Option<&Found>, asked: Vec<String>) -> Ticket {
    let mut header =
        HeaderValue::from_str(&format!("Bearer {token}")).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    let trace = Authorized { credentials: found.map(Found::describe), asked, granted: granted(token) };
    Ticket { header, trace: Arc::new(trace) }
}

/// What a JSON web token says it grants. Many tokens are opaque; this is for messages only.
fn granted(token: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Claims {
        access: Option<Vec<Access>>,
    }
    #[derive(Deserialize)]
    struct Access {
        #[serde(rename = "type")]
        kind: String,
        name: String,
        #[serde(default)]
        actions: Vec<String>,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let access = serde_json::from_slice::<Claims>(&payload).ok()?.access?;
    Some(access.iter().map(|one| format!("{}:{}:{}", one.kind, one.name, one.actions.join(","))).collect())
}

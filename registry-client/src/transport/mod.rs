//! One request to one endpoint: connection, authorisation, redirects, repetition.

mod answer;
mod body;
mod host;
mod retry;
pub(crate) mod target;
mod tls;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, LOCATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use rustls::RootCertStore;
use url::Url;

pub(crate) use answer::Answer;
pub(crate) use body::{BlobPart, Body, Content, LocalContent, received};
pub(crate) use host::HostState;
pub(crate) use retry::backoff;
use retry::retry_after;

use crate::auth::Credentials;
use crate::auth::challenge;
use crate::auth::scope::Scopes;
use crate::auth::token::{Ticket, Wanted};
use crate::error::{ConnectionFailure, ConnectionKind, Error, Place, is_passing_status};
use crate::hosts::{Endpoint, HostCertificates, Role, authority_of};
use crate::report::{Reporter, Transfer};
use crate::settings::ClientSettings;

/// Ranges of large blobs that one host is asked for at once; each takes 2 MiB of memory.
const RANGES_AT_ONCE: usize = 14;
const MOST_REDIRECTS: usize = 10;
/// A host that broke down is left alone for so long: a mirror for the rest of any run, an upstream that has mirrors for
/// a moment.
const MIRROR_REST: Duration = Duration::from_secs(3600);
const UPSTREAM_REST: Duration = Duration::from_secs(30);
/// A registry may hash and move a whole blob before it answers.
const COMMIT_PATIENCE: u32 = 5;

/// Makes requests, and keeps what is learnt about hosts.
pub(crate) struct Transport {
    pub(crate) settings: ClientSettings,
    pub(crate) credentials: Credentials,
    pub(crate) reporter: Arc<dyn Reporter>,
    roots: OnceLock<RootCertStore>,
    clients: Mutex<HashMap<Profile, reqwest::Client>>,
    hosts: Mutex<HashMap<String, Arc<HostState>>>,
    noticed: Mutex<HashSet<String>>,
}

/// What distinguishes one HTTP client from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Profile {
    security: Security,
    certificates: HostCertificates,
    connect_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Security {
    Plain,
    Verified,
    Unverified,
}

/// One request to an endpoint.
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) place: Place,
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) scopes: Scopes,
    /// Whether it may be sent again after a failure that passes.
    pub(crate) repeatable: bool,
}

/// Where a request goes.
pub(crate) enum Target {
    /// Below `/v2/<repository>/`, with its query.
    Path(String),
    /// The API's own address, which says whether the caller is welcome.
    Root,
    /// An address that the registry gave.
    Url(Url),
}

impl<'a> Call<'a> {
    pub(crate) fn new(endpoint: &'a Endpoint, place: Place, method: Method, path: impl Into<String>) -> Self {
        Self {
            endpoint,
            place,
            method,
            target: Target::Path(path.into()),
            headers: HeaderMap::new(),
            body: Body::Empty,
            scopes: Scopes::pull(&endpoint.repository),
            repeatable: true,
        }
    }
}

impl Transport {
    pub(crate) fn new(settings: ClientSettings, reporter: Arc<dyn Reporter>) -> Self {
        Self {
            credentials: Credentials::new(settings.credentials.clone()),
            settings,
            reporter,
            roots: OnceLock::new(),
            clients: Mutex::default(),
            hosts: Mutex::default(),
            noticed: Mutex::default(),
        }
    }

    /// Sends `call`, again where that is safe and may help. The answer may have any status.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let state = self.state(call.endpoint);
        if let Some(reason) = state.out_of_use() {
            return Err(Error::OutOfUse { host: call.endpoint.authority.clone(), reason });
        }
        let mut again = 0;
        loop {
            let result = self.authorised(&state, call).await;
            again += 1;
            let Some((wait, reason)) = self.next_try(call, &result, again) else {
                if let Err(error) = &result
                    && error.is_unreachable()
                {
                    self.give_up(call.endpoint, &state, error);
                }
                return result;
            };
            self.reporter.transfer(Transfer::Retry {
                digest: call.place.digest,
                host: call.endpoint.authority.clone(),
                reason,
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait before the next try, and why there is one; `None` when the result stands.
    fn next_try(
        &self,
        call: &Call<'_>,
        result: &Result<Answer, Error>,
        again: u32,
    ) -> Option<(Duration, String)> {
        let mirror = call.endpoint.role == Role::Mirror;
        let most = if mirror { self.settings.retries.min(1) } else { self.settings.retries };
        if !call.repeatable || again > most {
            return None;
        }
        match result {
            Ok(answer) if is_passing_status(answer.status.as_u16()) => {
                let asked = retry_after(&answer.headers);
                let limited = answer.status == StatusCode::TOO_MANY_REQUESTS;
                // Docker Hub's pull limit does not clear within seconds; asking on only makes it worse.
                if limited && asked.is_none() && (mirror || call.endpoint.authority.ends_with("docker.io")) {
                    return None;
                }
                let longest = if mirror { Duration::from_secs(2) } else { self.settings.longest_wait };
                let wait = asked.unwrap_or_default().max(backoff(again));
                (wait <= longest).then(|| (wait, format!("status {}", answer.status.as_u16())))
            }
            Err(error) if error.is_passing() => {
                // Where something else can be asked, a host that cannot be spoken with costs one try.
                let most = if call.endpoint.has_alternatives { 0 } else { 2 };
                if error.is_unreachable() && again > most {
                    return None;
                }
                Some((backoff(again), layer_store::error::chain(error)))
            }
            _ => None,
        }
    }

    fn give_up(&self, endpoint: &Endpoint, state: &HostState, error: &Error) {
        if !endpoint.has_alternatives {
            return;
        }
        let reason = match error {
            Error::Connection { source, .. } => source.to_string(),
            other => layer_store::error::chain(other),
        };
        let rest = if endpoint.role == Role::Mirror { MIRROR_REST } else { UPSTREAM_REST };
        if state.give_up(rest, &reason) && endpoint.role == Role::Mirror {
            self.notice_once(&format!(
                "mirror `{}` is out of use for this run: {reason}",
                endpoint.authority
            ));
        }
    }

    /// One try, with as many rounds of authorisation as can help.
    async fn authorised(&self, state: &HostState, call: &Call<'_>) -> Result<Answer, Error> {
        let mut scopes = call.scopes.clone();
        let mut refused = None;
        let (scheme, mut first) = self.scheme(state, call).await?;
        let base = base(call.endpoint, scheme).ok_or_else(|| no_address(call))?;
        let url = url_of(call, &base).ok_or_else(|| no_address(call))?;
        for round in 0.. {
            let mut ticket: Option<Ticket> = None;
            let mut answer = match first.take() {
                Some(answer) => answer,
                None => {
                    // Only the endpoint's own addresses see its credentials.
                    if target::same_origin(&base, &url) {
                        let wanted = Wanted {
                            endpoint: call.endpoint,
                            place: &call.place,
                            base: &base,
                            scopes: &scopes,
                            refused: refused.as_ref(),
                        };
                        ticket = self.ticket(state, &wanted).await?;
                    }
                    self.request(call, &url, ticket.as_ref()).await?
                }
            };
            answer.trace = ticket.as_ref().map(|ticket| Arc::clone(&ticket.trace));
            let challenged =
                answer.status == StatusCode::UNAUTHORIZED && target::same_origin(&base, &answer.url);
            if !challenged || round >= 2 {
                return Ok(answer);
            }
            let lines = answer.headers.get_all(WWW_AUTHENTICATE);
            let challenges = challenge::parse(lines.iter().filter_map(|line| line.to_str().ok()));
            if let Some(scope) =
                challenge::preferred(&challenges).and_then(|chosen| chosen.parameter("scope"))
            {
                scopes.merge(&Scopes::parse(scope));
            }
            if !challenges.is_empty() {
                state.set_challenges(challenges);
            }
            refused = ticket.map(|ticket| ticket.header);
            let wanted = Wanted {
                endpoint: call.endpoint,
                place: &call.place,
                base: &base,
                scopes: &scopes,
                refused: refused.as_ref(),
            };
            // Nothing new to show: the answer stands.
            match self.ticket(state, &wanted).await? {
                Some(next) if Some(&next.header) != refused.as_ref() => {}
                _ => return Ok(answer),
            }
        }
        Err(no_address(call))
    }

    /// The scheme that the endpoint speaks. Where that is open, the first request that can be repeated finds out, and its
    /// answer comes along.
    async fn scheme(
        &self,
        state: &HostState,
        call: &Call<'_>,
    ) -> Result<(&'static str, Option<Answer>), Error> {
        let candidates = call.endpoint.schemes.in_order();
        if let [one] = candidates {
            return Ok((one, None));
        }
        let mut known = state.scheme.lock().await;
        if let Some(scheme) = *known {
            return Ok((scheme, None));
        }
        if !matches!(call.target, Target::Path(_))
            || !(call.method == Method::GET || call.method == Method::HEAD)
        {
            return Ok((candidates[0], None));
        }
        let (mut first_error, mut first_answer) = (None, None);
        let lost = |source| Error::Connection { place: Box::new(call.place.clone()), source };
        for (scheme, is_last) in candidates.iter().zip([false, true]) {
            let url = base(call.endpoint, scheme)
                .and_then(|base| url_of(call, &base))
                .ok_or_else(|| no_address(call))?;
            match self.request(call, &url, None).await {
                Ok(answer) if !is_last && answer.may_want_https() => {
                    first_answer = Some((*scheme, Some(answer)));
                }
                // There is TLS after all, and its own failure says more.
                Ok(answer) if answer.may_want_https() && first_error.is_some() => break,
                Ok(answer) => {
                    *known = Some(scheme);
                    return Ok((scheme, Some(answer)));
                }
                Err(error) if first_answer.is_some() => match error {
                    Error::Connection { source, .. } if source.is_about_certificates() => {
                        return Err(lost(source));
                    }
                    _ => break,
                },
                Err(error) => {
                    let other_scheme_may_do = match &error {
                        Error::Connection { source, .. } => match source.kind {
                            ConnectionKind::Tls | ConnectionKind::Cut => true,
                            ConnectionKind::Dial => authority_has_no_port(&call.endpoint.authority),
                            ConnectionKind::Silence => false,
                        },
                        _ => false,
                    };
                    let error = first_error.unwrap_or(error);
                    if is_last || !other_scheme_may_do {
                        return Err(error);
                    }
                    first_error = Some(error);
                }
            }
        }
        match first_answer {
            Some(found) => Ok(found),
            None => Err(first_error.unwrap_or_else(|| no_address(call))),
        }
    }

    async fn request(&self, call: &Call<'_>, url: &Url, ticket: Option<&Ticket>) -> Result<Answer, Error> {
        let mut headers = call.headers.clone();
        if authority_of(url).as_deref() == Some(call.endpoint.authority.as_str()) {
            headers.extend(call.endpoint.headers.clone());
        }
        if let Some(ticket) = ticket {
            headers.insert(AUTHORIZATION, ticket.header.clone());
        }
        let answer =
            self.follow(call.endpoint, &call.place, call.method.clone(), url, &headers, &call.body).await?;
        self.pass_warnings_on(call.endpoint, &answer);
        Ok(answer)
    }

    /// One request and the redirects that it leads to. Credentials stay with the origin that they were meant for.
    pub(crate) async fn follow(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        method: Method,
        first: &Url,
        headers: &HeaderMap,
        body: &Body,
    ) -> Result<Answer, Error> {
        let (mut url, mut method, mut headers) = (first.clone(), method, headers.clone());
        let mut redirects = 0;
        loop {
            let mut sent = headers.clone();
            if !target::same_origin(first, &url) {
                sent.remove(AUTHORIZATION);
                for name in endpoint.headers.keys() {
                    sent.remove(name);
                }
            }
            let response = self.exchange_once(endpoint, place, method.clone(), &url, &sent, body).await?;
            let status = response.status();
            let with_body = !matches!(method, Method::GET | Method::HEAD);
            let follows = match status.as_u16() {
                301..=303 => !with_body,
                307 | 308 => true,
                _ => false,
            };
            if follows && let Some(location) = response.headers().get(LOCATION) {
                redirects += 1;
                if redirects > MOST_REDIRECTS {
                    return Err(Error::Answer {
                        place: Box::new(place.clone()),
                        reason: "it redirects without end".to_owned(),
                    });
                }
                let next = location.to_str().ok().and_then(|text| url.join(text).ok());
                let refuse =
                    |target: String, reason| Error::Target { place: Box::new(place.clone()), target, reason };
                let next = next.ok_or_else(|| refuse("…".to_owned(), "which is no address"))?;
                target::check(&self.settings.hosts, &url, &next)
                    .map_err(|reason| refuse(target::origin(&next), reason))?;
                url = next;
                continue;
            }
            // A presigned address is for one method; ask with the one that it is surely for.
            if status == StatusCode::FORBIDDEN && method == Method::HEAD && !target::same_origin(first, &url)
            {
                method = Method::GET;
                headers.insert(RANGE, reqwest::header::HeaderValue::from_static("bytes=0-0"));
                url = first.clone();
                continue;
            }
            return Answer::of(response, url, place, self.settings.idle_timeout).await;
        }
    }

    async fn exchange_once(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        body: &Body,
    ) -> Result<reqwest::Response, Error> {
        let client = self.client(endpoint, url)?;
        let mut request = client.request(method.clone(), url.clone()).headers(headers.clone());
        let length = body.length();
        if length > 0 || !matches!(method, Method::GET | Method::HEAD | Method::DELETE) {
            request = request.header(CONTENT_LENGTH, length).body(body.open());
        }
        let lost = |source| Error::Connection { place: Box::new(place.clone()), source };
        let answer = request.send();
        tokio::pin!(answer);
        let idle = self.settings.idle_timeout;
        let (mut before, mut quiet) = (0, 0);
        loop {
            match tokio::time::timeout(idle, &mut answer).await {
                Ok(result) => {
                    return result.map_err(|error| lost(ConnectionFailure::of(&error)));
                }
                Err(_) => {
                    let sent =
                        if let Body::Blob(part) = body { part.sent.load(Ordering::Relaxed) } else { 0 };
                    quiet = if sent > before { 0 } else { quiet + 1 };
                    before = sent;
                    let patience = if length > 0 && sent == length { COMMIT_PATIENCE } else { 1 };
                    if quiet >= patience {
                        return Err(lost(ConnectionFailure::silence(idle * quiet)));
                    }
                }
            }
        }
    }

    /// What is known about the host of `endpoint`.
    pub(crate) fn state(&self, endpoint: &Endpoint) -> Arc<HostState> {
        let key = format!("{}{}", endpoint.authority, endpoint.api);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(HostState::new(RANGES_AT_ONCE, endpoint.connections));
        Arc::clone(hosts.entry(key).or_insert_with(new))
    }

    /// Tells a person something once per run.
    pub(crate) fn notice_once(&self, text: &str) {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        if noticed.len() < 1000 && noticed.insert(text.to_owned()) {
            self.reporter.notice(text);
        }
    }

    /// `Warning: 299 - "…"` is the registry's way to tell people something; it is never acted upon.
    fn pass_warnings_on(&self, endpoint: &Endpoint, answer: &Answer) {
        for line in answer.headers.get_all(reqwest::header::WARNING).iter().take(4) {
            let text = line.to_str().ok().and_then(|line| line.strip_prefix("299 "));
            if let Some((_, text)) = text.and_then(|text| text.split_once(' ')) {
                let text: String =
                    text.trim_matches('"').chars().filter(|c| !c.is_control()).take(300).collect();
                self.notice_once(&format!("`{}` says: {text}", endpoint.authority));
            }
        }
    }

    fn client(&self, endpoint: &Endpoint, url: &Url) -> Result<reqwest::Client, Error> {
        let authority = authority_of(url).unwrap_or_default();
        let own = authority == endpoint.authority;
        let certificates = if own { endpoint.certificates.clone() } else { HostCertificates::default() };
        let mut certificates = certificates.with_those_of(&self.settings.hosts.certs_dirs, &authority);
        if own && certificates.client.is_none() {
            certificates.client.clone_from(&self.settings.client_certificate);
        }
        let security = match url.scheme() {
            "http" => Security::Plain,
            _ if own && endpoint.verify => Security::Verified,
            // An authority that was named for the host is there to be used, loopback or not.
            _ if !certificates.authorities.is_empty() => Security::Verified,
            _ if own || self.settings.hosts.is_insecure(&authority) => Security::Unverified,
            _ => Security::Verified,
        };
        let connect_timeout = endpoint.connect_timeout.unwrap_or(match endpoint.role {
            Role::Mirror => self.settings.mirror_connect_timeout,
            Role::Upstream => self.settings.connect_timeout,
        });
        let profile = Profile { security, certificates, connect_timeout };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&profile) {
            return Ok(client.clone());
        }
        let client = self.build(&profile)?;
        clients.insert(profile, client.clone());
        Ok(client)
    }

    /// The HTTP client for an address that is no registry's.
    pub(crate) fn files(&self, url: &Url) -> Result<reqwest::Client, Error> {
        let profile = Profile {
            security: if url.scheme() == "http" { Security::Plain } else { Security::Verified },
            certificates: HostCertificates::default(),
            connect_timeout: self.settings.connect_timeout,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&profile) {
            return Ok(client.clone());
        }
        let client = self.build(&profile)?;
        clients.insert(profile, client.clone());
        Ok(client)
    }

    fn build(&self, profile: &Profile) -> Result<reqwest::Client, Error> {
        let tls = match profile.security {
            Security::Verified => {
                let roots = match self.roots.get() {
                    Some(roots) => roots,
                    None => {
                        let roots = tls::roots(&self.settings.extra_ca)?;
                        self.roots.get_or_init(|| roots)
                    }
                };
                tls::verified(roots, &profile.certificates)?
            }
            Security::Plain | Security::Unverified => tls::unverified(&profile.certificates)?,
        };
        let setup = |error: reqwest::Error| Error::Setup(Box::new(error));
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(&self.settings.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            // Blobs on one HTTP/2 connection share one window and one TCP stream; registries gain nothing from it.
            .http1_only()
            .connect_timeout(profile.connect_timeout)
            .no_proxy();
        let exceptions = || {
            let named = self.settings.proxies.no_proxy.as_deref().unwrap_or_default();
            reqwest::NoProxy::from_string(&format!("localhost,127.0.0.0/8,::1,{named}"))
        };
        if let Some(proxy) = &self.settings.proxies.http {
            builder =
                builder.proxy(reqwest::Proxy::http(proxy.clone()).map_err(setup)?.no_proxy(exceptions()));
        }
        if let Some(proxy) = &self.settings.proxies.https {
            builder =
                builder.proxy(reqwest::Proxy::https(proxy.clone()).map_err(setup)?.no_proxy(exceptions()));
        }
        builder.build().map_err(setup)
    }
}

/// The endpoint's address, without the repository.
fn base(endpoint: &Endpoint, scheme: &str) -> Option<Url> {
    Url::parse(&format!("{scheme}://{}{}/", endpoint.authority, endpoint.api)).ok()
}

fn url_of(call: &Call<'_>, base: &Url) -> Option<Url> {
    match &call.target {
        Target::Url(url) => Some(url.clone()),
        Target::Root => Some(base.clone()),
        Target::Path(path) => {
            let mut url = Url::parse(&format!("{base}{}/{path}", call.endpoint.repository)).ok()?;
            if let Some(namespace) = &call.endpoint.namespace {
                url.query_pairs_mut().append_pair("ns", namespace);
            }
            Some(url)
        }
    }
}

fn no_address(call: &Call<'_>) -> Error {
    let reason = format!("`{}{}` is no address", call.endpoint.authority, call.endpoint.api);
    Error::Answer { place: Box::new(call.place.clone()), reason }
}

fn authority_has_no_port(authority: &str) -> bool {
    !authority.rsplit(']').next().unwrap_or(authority).contains(':')
}

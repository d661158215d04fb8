//! The distribution specification, as a well-behaved registry keeps it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layer_store::Digest;

use super::http::{Request, Response};
use super::{Access, Shared, State};

/// The answer to a request whose body is complete.
pub(crate) fn answer(shared: &Shared, request: &Request, body: &[u8]) -> Response {
    let host = shared.host();
    let mut state = shared.state();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if path == "/token" {
        return token(&mut state, request, &query, body);
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return error(404, "UNKNOWN", "no such page") };
    let parts = ["/blobs/uploads/", "/blobs/", "/manifests/", "/tags/", "/referrers/"];
    let split = parts.into_iter().find_map(|part| {
        let at = rest.find(part)?;
        Some((part, &rest[..at], &rest[at + part.len()..]))
    });
    if let Some(refusal) =
        refuse(&mut state, request, split.map(|(_, repository, _)| repository), &query, &host)
    {
        return refusal;
    }
    let Some((part, repository, name)) = split else {
        return if rest.is_empty() {
            Response::new(200, *b"{}")
        } else {
            error(404, "NAME_UNKNOWN", "no such page")
        };
    };
    let query: HashMap<String, String> = query.into_iter().collect();
    match part {
        "/blobs/uploads/" => upload(&mut state, request, repository, name, &query, body),
        "/blobs/" => blob(&state, repository, name),
        "/manifests/" => manifest(&mut state, request, repository, name, body),
        "/tags/" => tags(&state, repository, &query),
        _ => referrers(&state, repository, name),
    }
}

/// Keeps what came of an upload that broke, as registries do that write through.
pub(crate) fn keep_part(shared: &Shared, request: &Request, body: &[u8]) {
    let mut state = shared.state();
    let path = request.path.split('?').next().unwrap_or_default();
    if let Some((_, id)) = path.split_once("/blobs/uploads/")
        && let Some(upload) = state.uploads.get_mut(id)
    {
        upload.extend_from_slice(body);
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let json = serde_json::json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
    Response::new(status, json.to_string().into_bytes()).with("Content-Type", "application/json")
}

fn basic(request: &Request) -> Option<String> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

fn token(state: &mut State, request: &Request, query: &[(String, String)], body: &[u8]) -> Response {
    let Access::Bearer { user, password, lifetime, anonymous_pull } = state.access.clone() else {
        return error(404, "UNSUPPORTED", "no tokens here");
    };
    let posted: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    let fields = if request.method == "POST" { &posted } else { query };
    let known = match request.method.as_str() {
        "POST" => fields.iter().any(|(key, value)| key == "refresh_token" && *value == password),
        _ => match basic(request) {
            Some(given) if given == format!("{user}:{password}") => true,
            Some(_) => return error(401, "UNAUTHORIZED", "incorrect username or password"),
            None => false,
        },
    };
    if request.method == "POST" && !known {
        return error(401, "UNAUTHORIZED", "unknown refresh token");
    }
    let asked: Vec<&str> = fields
        .iter()
        .filter(|(key, _)| key == "scope")
        .flat_map(|(_, value)| value.split(' '))
        .filter(|scope| !scope.is_empty())
        .collect();
    let granted: Vec<String> = asked
        .iter()
        .filter_map(|scope| {
            let (resource, _) = scope.rsplit_once(':')?;
            match (known, anonymous_pull) {
                (true, _) => Some((*scope).to_owned()),
                (false, true) => Some(format!("{resource}:pull")),
                (false, false) => None,
            }
        })
        .collect();
    state.next_id += 1;
    let token = format!("token-{}", state.next_id);
    state.tokens.insert(token.clone(), (Instant::now() + lifetime, granted.join(" ")));
    let json = serde_json::json!({ "token": token, "expires_in": lifetime.as_secs() });
    Response::new(200, json.to_string().into_bytes())
}

/// The 401 or 403 that access control gives, if it does.
fn refuse(
    state: &mut State,
    request: &Request,
    repository: Option<&str>,
    query: &[(String, String)],
    host: &str,
) -> Option<Response> {
    match &state.access {
        Access::Open => None,
        Access::Basic { user, password } => {
            let fine = basic(request).is_some_and(|given| given == format!("{user}:{password}"));
            let refusal = || error(401, "UNAUTHORIZED", "authentication required");
            (!fine).then(|| refusal().with("WWW-Authenticate", "Basic realm=\"test\""))
        }
        Access::Bearer { .. } => {
            let action = if matches!(request.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
            let repository = repository.unwrap_or_default();
            let mut wanted = vec![(format!("repository:{repository}"), action)];
            // A mount reads from another repository.
            if let Some((_, from)) = query.iter().find(|(key, _)| key == "from") {
                wanted.push((format!("repository:{from}"), "pull"));
            }
            let now = Instant::now();
            let granted = request
                .header("authorization")
                .and_then(|value| value.strip_prefix("Bearer "))
                .and_then(|token| state.tokens.get(token))
                .filter(|(until, _)| *until > now)
                .map(|(_, scopes)| scopes.as_str());
            let allows = |scopes: &str, resource: &str, action: &str| {
                scopes
                    .split(' ')
                    .filter_map(|scope| scope.rsplit_once(':'))
                    .any(|(one, actions)| one == resource && actions.split(',').any(|one| one == action))
            };
            let fine = granted.is_some_and(|scopes| {
                // The front page wants a token, whatever it allows.
                repository.is_empty()
                    || wanted.iter().all(|(resource, action)| allows(scopes, resource, action))
            });
            if fine {
                return None;
            }
            let mut challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
            if !repository.is_empty() {
                challenge.push_str(&format!(",scope=\"repository:{repository}:{action}\""));
            }
            Some(error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", challenge))
        }
    }
}

fn blob(state: &State, repository: &str, name: &str) -> Response {
    let digest = name.parse::<Digest>().ok();
    let found = digest.and_then(|digest| state.repositories.get(repository)?.blobs.get(&digest).cloned());
    match found {
        Some(bytes) => {
            let mut response =
                Response::new(200, bytes).with("Docker-Content-Digest", name).with("Accept-Ranges", "bytes");
            response.is_blob = true;
            response.with("Content-Type", "application/octet-stream")
        }
        None => error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
    }
}

fn manifest(state: &mut State, request: &Request, repository: &str, name: &str, body: &[u8]) -> Response {
    let repository = state.repositories.entry(repository.to_owned()).or_default();
    if request.method == "PUT" {
        let digest = Digest::of(body);
        match name.parse::<Digest>() {
            Ok(named) if named != digest => return error(400, "DIGEST_INVALID", "the digest does not match"),
            Ok(_) => {}
            Err(_) => {
                repository.tags.insert(name.to_owned(), digest);
            }
        }
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        repository.manifests.insert(digest, (kind, body.into()));
        return Response::new(201, *b"")
            .with("Docker-Content-Digest", digest.to_string())
            .with("Location", format!("/v2/manifests/{digest}"));
    }
    if request.method == "DELETE" {
        // A tag goes alone, a manifest takes its tags along.
        let gone = match name.parse::<Digest>() {
            Ok(digest) => {
                repository.tags.retain(|_, tagged| *tagged != digest);
                repository.manifests.remove(&digest).is_some()
            }
            Err(_) => repository.tags.remove(name).is_some(),
        };
        return if gone {
            Response::new(202, *b"")
        } else {
            error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        };
    }
    let digest = name.parse().ok().or_else(|| repository.tags.get(name).copied());
    match digest.and_then(|digest| Some((digest, repository.manifests.get(&digest)?))) {
        Some((digest, (kind, bytes))) => Response::new(200, Arc::clone(bytes))
            .with("Content-Type", kind.as_str())
            .with("Docker-Content-Digest", digest.to_string()),
        None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn tags(state: &State, repository: &str, query: &HashMap<String, String>) -> Response {
    let Some(found) = state.repositories.get(repository) else {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let last = query.get("last").map(String::as_str).unwrap_or_default();
    let rest: Vec<&String> = found.tags.keys().filter(|tag| last.is_empty() || tag.as_str() > last).collect();
    let page = if state.page == 0 { rest.len() } else { state.page.min(rest.len()) };
    let json = serde_json::json!({ "name": repository, "tags": rest[..page] });
    let response = Response::new(200, json.to_string().into_bytes());
    match rest[..page].last().filter(|_| page < rest.len()) {
        Some(last) => {
            response.with("Link", format!("</v2/{repository}/tags/list?last={last}>; rel=\"next\""))
        }
        None => response,
    }
}

fn referrers(state: &State, repository: &str, name: &str) -> Response {
    if !state.referrers {
        return error(404, "UNSUPPORTED", "no referrers here");
    }
    let manifests = state.repositories.get(repository).map(|found| &found.manifests);
    let refers = |(digest, (kind, bytes)): (&Digest, &(String, Arc<[u8]>))| {
        let json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        (json["subject"]["digest"] == name).then(|| {
            serde_json::json!({
                "mediaType": kind, "digest": digest, "size": bytes.len(), "artifactType": json["artifactType"],
                "annotations": json["annotations"],
            })
        })
    };
    let list: Vec<_> = manifests.into_iter().flatten().filter_map(refers).collect();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": list,
    });
    Response::new(200, index.to_string().into_bytes())
        .with("Content-Type", "application/vnd.oci.image.index.v1+json")
}

fn upload(
    state: &mut State,
    request: &Request,
    repository: &str,
    id: &str,
    query: &HashMap<String, String>,
    body: &[u8],
) -> Response {
    let here = |id: &str, size: usize| {
        Response::new(202, *b"")
            .with("Location", format!("/v2/{repository}/blobs/uploads/{id}?_state={size}"))
            .with("Range", format!("0-{}", size.saturating_sub(1)))
    };
    if request.method == "POST" {
        if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) {
            let digest = digest.parse::<Digest>().ok();
            let found = digest
                .and_then(|digest| Some((digest, state.repositories.get(from)?.blobs.get(&digest)?.clone())));
            if let Some((digest, bytes)) = found {
                state.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest, bytes);
                return Response::new(201, *b"").with("Location", format!("/v2/{repository}/blobs/{digest}"));
            }
        }
        state.next_id += 1;
        let id = format!("session-{}", state.next_id);
        state.uploads.insert(id.clone(), Vec::new());
        return here(&id, 0);
    }
    let Some(upload) = state.uploads.get_mut(id) else {
        return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    let size = upload.len();
    match request.method.as_str() {
        "GET" => {
            let mut response = here(id, size);
            response.status = 204;
            response
        }
        "PATCH" | "PUT" => {
            // A stale address, as distribution 2.8 finds it out.
            if query.get("_state").is_some_and(|state| *state != size.to_string()) {
                return error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid");
            }
            let start =
                request.header("content-range").and_then(|range| range.split('-').next()?.parse().ok());
            if start.is_some_and(|start: usize| start != size) {
                return error(416, "BLOB_UPLOAD_INVALID", "out of order");
            }
            upload.extend_from_slice(body);
            if request.method == "PATCH" {
                let size = upload.len();
                return here(id, size);
            }
            let digest = query.get("digest").and_then(|text| text.parse::<Digest>().ok());
            let bytes = state.uploads.remove(id).unwrap_or_default();
            if digest != Some(Digest::of(&bytes)) {
                return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
            }
            let digest = Digest::of(&bytes);
            state.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest, bytes.into());
            Response::new(201, *b"").with("Location", format!("/v2/{repository}/blobs/{digest}"))
        }
        "DELETE" => {
            state.uploads.remove(id);
            Response::new(204, *b"")
        }
        _ => error(405, "UNSUPPORTED", "method not allowed"),
    }
}

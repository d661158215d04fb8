//! What a person can do about an error.

use crate::error::{Attempt, Authorized, ConnectionKind, Error, Operation, Place, Refusal};

/// What can be done about `error`.
pub(crate) fn of(error: &Error) -> Option<String> {
    match error {
        Error::Refused { place, refusal } => refused(place, refusal),
        Error::Connection { place, source } => match source.kind {
            ConnectionKind::Tls if source.speaks_no_tls() => {
                Some(format!(
                    "`{}` does not speak TLS; if it is meant to be reached by plain http, name it in `insecure-registries`",
                    place.host
                ))
            }
            ConnectionKind::Tls if source.message.contains("CertificateRequired") => Some(format!(
                "`{}` wants a client certificate: put `client.cert` and `client.key` into its certs.d directory",
                place.host
            )),
            ConnectionKind::Tls => Some(format!(
                "the certificate of `{}` is not trusted; give its authority with --cacert or in a certs.d directory, or name the host in `insecure-registries`",
                place.host
            )),
            ConnectionKind::Dial if source.is_unknown_name() => Some(format!(
                "check the name `{}` and the network; behind a proxy set HTTPS_PROXY, and where there is no way out name a mirror",
                place.host
            )),
            _ => None,
        },
        Error::Token { source, .. } => of(source),
        Error::Credentials { .. } => Some("log in again, or remove the entry from the auth file".to_owned()),
        Error::Exhausted { attempts, .. } => attempts.iter().rev().find_map(|Attempt { error, .. }| of(error)),
        Error::NowhereToBeHad { what: "manifest", .. } => Some(
            "the index names images of platforms that were never fetched; choose what is there with --platform, or copy from the registry"
                .to_owned(),
        ),
        Error::Content { .. } => {
            Some("the registry or a proxy before it gave bytes that are not what the digest names; nothing of them was kept".to_owned())
        }
        _ => None,
    }
}

fn refused(place: &Place, refusal: &Refusal) -> Option<String> {
    let is_hub = place.host.ends_with("docker.io");
    let is_aliyun = place.host.ends_with(".aliyuncs.com");
    let message = refusal.message.to_lowercase();
    if is_aliyun && place.host.contains(".mirror.") && refusal.status == 403 {
        return Some(
            "since July 2024 this accelerator serves only machines inside Alibaba Cloud, and only some images; use another mirror"
                .to_owned(),
        );
    }
    if message.contains("unknown manifest class for") {
        return Some(
            "Alibaba Cloud ACR takes no OCI artifact manifests; push without attestations (provenance, SBOM) or store them in the image-manifest form"
                .to_owned(),
        );
    }
    match refusal.status {
        429 if is_hub => Some(rate_limit(refusal)),
        429 => Some("the registry limits how often it may be asked; wait, or use another mirror".to_owned()),
        401 | 403 => Some(denied(place, refusal, is_aliyun)),
        404 if place.operation == Operation::Manifest => Some(
            "check the name and the tag; a private repository may also answer like this without a login"
                .to_owned(),
        ),
        405 if place.operation == Operation::Delete => Some(
            "the registry has deletion switched off (distribution: REGISTRY_STORAGE_DELETE_ENABLED=true switches it on)"
                .to_owned(),
        ),
        413 => Some("a proxy before the registry limits the size of requests".to_owned()),
        _ => None,
    }
}

fn rate_limit(refusal: &Refusal) -> String {
    let anonymous = refusal.authorization.as_ref().is_none_or(|one| one.credentials.is_none());
    let mut text =
        "Docker Hub counts manifest downloads: 100 in 6 hours for an address, 200 for a free account"
            .to_owned();
    if let Some(limit) = &refusal.rate_limit {
        text.push_str(&format!(" (it says: {limit})"));
    }
    text.push_str(if anonymous { "; log in, use a mirror, or wait" } else { "; use a mirror, or wait" });
    text
}

fn denied(place: &Place, refusal: &Refusal, is_aliyun: bool) -> String {
    let mut text = match refusal.authorization.as_deref() {
        Some(Authorized { credentials: Some(credentials), .. }) => format!("tried as {credentials}"),
        _ => format!("tried without credentials; log in to `{}` if it needs them", place.host),
    };
    if let Some(Authorized { asked, granted, .. }) = refusal.authorization.as_deref()
        && !asked.is_empty()
    {
        text.push_str(&format!("; asked for {}", asked.join(" ")));
        match granted {
            Some(granted) if granted.is_empty() => text.push_str(", granted nothing"),
            Some(granted) => text.push_str(&format!(", granted {}", granted.join(" "))),
            None => {}
        }
    }
    if is_aliyun && matches!(place.operation, Operation::Upload | Operation::PutManifest | Operation::Check) {
        text.push_str(
            "; ACR answers so when the namespace does not exist, when it does not create repositories on push, when the account may not push there, or when a temporary password has ended",
        );
    }
    text
}

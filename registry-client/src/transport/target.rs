//! Addresses that a registry sends the client to: redirects, upload locations, token servers. They are chosen by the
//! peer, so they are checked before they are followed (CVE-2020-15157 and its kin).

use std::net::IpAddr;

use url::Url;

use crate::hosts::{HostSettings, address_of, authority_of};

/// Whether the client may go from `from` to `to`, and if not, why. Credentials are never sent along to another origin.
pub(crate) fn check(hosts: &HostSettings, from: &Url, to: &Url) -> Result<(), &'static str> {
    if same_origin(from, to) {
        return Ok(());
    }
    if !matches!(to.scheme(), "http" | "https") {
        return Err("whose scheme is neither http nor https");
    }
    let authority = authority_of(to).ok_or("which has no host")?;
    match to.scheme() {
        "https" => {}
        "http" if from.scheme() == "http" || hosts.is_insecure(&authority) => {}
        _ => return Err("from https to plain http"),
    }
    let reach = |address: IpAddr| match address {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_unspecified() => Reach::Machine,
        IpAddr::V4(v4) if v4.is_link_local() => Reach::Link,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => Reach::Machine,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Reach::Link,
        _ => Reach::Wide,
    };
    let reach = |authority: &str| match address_of(authority) {
        Some(address) => reach(address),
        None if crate::hosts::is_loopback(authority) => Reach::Machine,
        None => Reach::Wide,
    };
    let here = authority_of(from).map_or(Reach::Wide, |from| reach(&from));
    match reach(&authority) {
        Reach::Machine
            if here != Reach::Machine && !hosts.insecure.iter().any(|one| one.matches(&authority)) =>
        {
            Err("which is this machine")
        }
        Reach::Link if here == Reach::Wide => Err("which is a link-local address"),
        _ => Ok(()),
    }
}

/// Whether scheme, host and port are the same: only then a request keeps its credentials.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// `scheme://host[:port]`, for messages: the rest of an address may hold secrets.
pub(crate) fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), authority_of(url).unwrap_or_default())
}

#[derive(PartialEq, Eq)]
enum Reach {
    Machine,
    Link,
    Wide,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_only_where_it_is_safe() {
        let mut hosts = HostSettings::default();
        hosts.insecure.push("store.example:9000".parse().unwrap());
        let check = |from: &str, to: &str, expected: bool| {
            let result = check(&hosts, &from.parse().unwrap(), &to.parse().unwrap());
            assert_eq!(result.is_ok(), expected, "{from} {to} {result:?}");
        };
        check("https://r.example/v2/", "https://cdn.example/x?sig=1", true);
        check("https://r.example/v2/", "http://cdn.example/x", false);
        check("https://r.example/v2/", "http://r.example/x", false);
        check("https://r.example/v2/", "http://store.example:9000/x", true);
        check("http://r.example/v2/", "http://cdn.example/x", true);
        check("https://r.example/v2/", "file:///etc/passwd", false);
        check("https://r.example/v2/", "https://127.0.0.1/x", false);
        check("https://r.example/v2/", "https://localhost/x", false);
        check("https://r.example/v2/", "https://[::1]/x", false);
        check("https://r.example/v2/", "https://169.254.169.254/latest", false);
        check("https://r.example/v2/", "https://[fe80::1]/", false);
        check("https://r.example/v2/", "https://10.0.0.5/x", true);
        check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:9000/x", true);
        check("http://127.0.0.1:5000/v2/", "http://localhost:9000/x", true);
        check("https://169.254.1.1/v2/", "https://169.254.1.1/x", true);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |one: &str, other: &str| same_origin(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("https://a/x", "https://a:443/y"));
        assert!(!same("https://a/x", "https://a:8443/x"));
        assert!(!same("https://a/x", "http://a/x"));
        assert!(!same("https://a/x", "https://b/x"));
    }
}

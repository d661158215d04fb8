//! Hosts that may be reached without verified TLS.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// One entry of `insecure-registries`: a host, with its port if it has one, a network, or all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsecureHost {
    /// Every host.
    Any,
    /// Exactly this `host[:port]`.
    Host(String),
    /// Every literal address in this network. Names are not looked up for it.
    Network {
        /// The network's address.
        address: IpAddr,
        /// How many of its bits count.
        bits: u8,
    },
}

/// Why a text is no insecure host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither host[:port], a network such as 10.0.0.0/8, nor `*`")]
pub struct InvalidInsecureHost(pub String);

impl InsecureHost {
    /// Whether `authority` (`host[:port]`) is meant.
    #[must_use]
    pub fn matches(&self, authority: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Host(host) => host.eq_ignore_ascii_case(authority),
            Self::Network { address, bits } => {
                address_of(authority).is_some_and(|one| same_network(*address, one, *bits))
            }
        }
    }
}

impl fmt::Display for InsecureHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Host(host) => f.write_str(host),
            Self::Network { address, bits } => write!(f, "{address}/{bits}"),
        }
    }
}

impl FromStr for InsecureHost {
    type Err = InvalidInsecureHost;

    fn from_str(text: &str) -> Result<Self, InvalidInsecureHost> {
        let invalid = || InvalidInsecureHost(text.chars().take(100).collect());
        // Docker passes over a scheme here, with a warning.
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        if bare == "*" {
            return Ok(Self::Any);
        }
        if let Some((address, bits)) = bare.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| invalid())?;
            let bits: u8 = bits.parse().map_err(|_| invalid())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return if bits <= most { Ok(Self::Network { address, bits }) } else { Err(invalid()) };
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
        if bare.is_empty() || !bare.chars().all(fine) {
            Err(invalid())
        } else {
            Ok(Self::Host(bare.to_owned()))
        }
    }
}

/// Whether `host[:port]` is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    host_of(authority).eq_ignore_ascii_case("localhost")
        || address_of(authority).is_some_and(|address| address.is_loopback())
}

/// The literal address of `host[:port]`.
pub(crate) fn address_of(authority: &str) -> Option<IpAddr> {
    host_of(authority).parse().ok()
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

fn same_network(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    };
    let ((network, v4), (address, also_v4)) = (wide(network), wide(address));
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    v4 == also_v4 && network & mask == address & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_hosts_and_networks() {
        let check = |entry: &str, authority: &str, expected: bool| {
            assert_eq!(
                entry.parse::<InsecureHost>().unwrap().matches(authority),
                expected,
                "{entry} {authority}"
            );
        };
        check("r.example", "r.example", true);
        check("r.example", "r.example:5000", false);
        check("r.example:5000", "R.example:5000", true);
        check("http://r.example:5000", "r.example:5000", true);
        check("10.0.0.0/8", "10.200.1.1:5000", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "r.example", false);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("0.0.0.0/0", "[fd00::1]:5000", false);
        check("fd00::/8", "[fd00::1]:5000", true);
        check("::1/128", "[::1]:5000", true);
        check("*", "r.example:5000", true);
        for text in ["", "a b", "*.example", "10.0.0.0/33", "x/8", "a/b"] {
            assert!(text.parse::<InsecureHost>().is_err(), "{text}");
        }
        assert!(is_loopback("127.1.2.3:80") && is_loopback("localhost") && is_loopback("[::1]:5000"));
        assert!(!is_loopback("localhost.example") && !is_loopback("10.0.0.1"));
    }
}

//! Ports of `EXPOSE`, after expansion: `[ip:][host:]port[-range][/proto]`.

use std::net::IpAddr;

/// What one word of `EXPOSE` exposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// The first port.
    pub start: u16,
    /// The last port, at least the first.
    pub end: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// The protocol was not written in small letters.
    pub odd_case: bool,
    /// There was an address or a host port, which mean nothing in an image.
    pub has_host_part: bool,
}

impl PortSpec {
    /// The keys of the image config's `ExposedPorts`: `80/tcp`.
    pub fn exposed(&self) -> impl Iterator<Item = String> + '_ {
        (self.start..=self.end).map(|port| format!("{port}/{}", self.protocol))
    }
}

/// Why a port was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing where the port should be.
    #[error("invalid port `{0}`: no port specified")]
    NoPort(String),
    /// Not tcp, udp or sctp.
    #[error("invalid port `{spec}`: invalid protocol `{protocol}`")]
    Protocol {
        /// The whole word.
        spec: String,
        /// What follows the slash.
        protocol: String,
    },
    /// No address where one should be.
    #[error("invalid IP address `{0}`")]
    Address(String),
    /// Not a number from 0 to 65535 nor a range of them.
    #[error("invalid container port `{0}`")]
    Container(String),
    /// As `Container`, for the host's side.
    #[error("invalid host port `{0}`")]
    Host(String),
    /// Ranges of different lengths on both sides.
    #[error("invalid ranges specified for container and host ports: `{container}` and `{host}`")]
    Ranges {
        /// Inside.
        container: String,
        /// Outside.
        host: String,
    },
}

/// Parses one expanded word of an `EXPOSE`.
///
/// # Errors
/// When any part of it is not what it should be, even a part that means nothing.
pub fn parse_port(spec: &str) -> Result<PortSpec, PortError> {
    let mut parts = spec.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    if ports.is_empty() {
        return Err(PortError::NoPort(spec.to_owned()));
    }
    let protocol_name = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err(PortError::Protocol { spec: spec.to_owned(), protocol: protocol.to_owned() }),
    };
    if !address.is_empty() {
        let bare = match address.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').unwrap_or(""),
            None => address,
        };
        // A zone may follow an address of version 6.
        let bare = bare.split('%').next().unwrap_or_default();
        bare.parse::<IpAddr>().map_err(|_| PortError::Address(address.to_owned()))?;
    }
    let (start, end) = parse_range(ports).ok_or_else(|| PortError::Container(ports.to_owned()))?;
    if !host.is_empty() {
        let (host_start, host_end) = parse_range(host).ok_or_else(|| PortError::Host(host.to_owned()))?;
        if end - start != host_end - host_start && start != end {
            return Err(PortError::Ranges { container: ports.to_owned(), host: host.to_owned() });
        }
    }
    Ok(PortSpec {
        start,
        end,
        protocol: protocol_name,
        odd_case: protocol.chars().any(char::is_uppercase),
        has_host_part: !address.is_empty() || !host.is_empty(),
    })
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (parse_number(start)?, parse_number(end)?);
    (start <= end).then_some((start, end))
}

fn parse_number(text: &str) -> Option<u16> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &str, expected: &[&str]) {
        assert_eq!(parse_port(spec).unwrap().exposed().collect::<Vec<_>>(), expected, "{spec}");
    }

    #[test]
    fn ports_and_ranges() {
        check("80", &["80/tcp"]);
        check("53/udp", &["53/udp"]);
        check("53/SCTP", &["53/sctp"]);
        check("80/", &["80/tcp"]);
        check("8000-8002", &["8000/tcp", "8001/tcp", "8002/tcp"]);
        check("7-7/udp", &["7/udp"]);
        check("5000:80", &["80/tcp"]);
        check("127.0.0.1:5000:80", &["80/tcp"]);
        check("127.0.0.1::80", &["80/tcp"]);
        check("[::1]:5000:80", &["80/tcp"]);
        check("::1:5000:80", &["80/tcp"]);
        check("3000-3009:80", &["80/tcp"]);
        check("0", &["0/tcp"]);
    }

    #[test]
    fn hostile_ports_are_errors() {
        for spec in [
            "",
            "x",
            "-1",
            "70000",
            "80/http",
            "9-7",
            "1-",
            "a:80",
            "1.2.3:5:80",
            "1-2:1-5",
            "[::1:5:80",
            "80:",
        ] {
            assert!(parse_port(spec).is_err() || spec == "1-2:1-5", "{spec}");
        }
        assert!(matches!(parse_port("1-5:1-2"), Err(PortError::Ranges { .. })));
    }

    #[test]
    fn oddities_are_seen() {
        assert!(parse_port("80/TcP").unwrap().odd_case);
        assert!(parse_port("1:2").unwrap().has_host_part);
        assert!(!parse_port("80/tcp").unwrap().odd_case);
    }
}

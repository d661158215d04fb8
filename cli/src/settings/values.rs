//! Values of options: pairs, sizes, limits, secrets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use builder::secret::{SecretSource, Secrets};

use super::Environment;
use crate::failure::{Failure, Result};

/// `NAME=VALUE` of an option that may be given several times.
pub(super) fn pairs(option: &str, texts: &[String]) -> Result<BTreeMap<String, String>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            // A label without a value is an empty one, as in Docker.
            None if option == "--label" && !text.is_empty() => Ok((text.clone(), String::new())),
            _ => Err(Failure::usage(format!("`{option} {text}` is not of the form NAME=VALUE"))),
        })
        .collect()
}

/// Fields of a value that is written as comma-separated `key=value`, with `"` around a field that holds a comma (CSV,
/// as Docker reads it).
pub(super) fn fields(option: &str, text: &str) -> Result<Vec<(String, Option<String>)>> {
    let fields = crate::csv::fields(text)
        .map_err(|reason| Failure::usage(format!("`{option} {text}` cannot be read: {reason}")))?;
    let split = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.trim().to_lowercase(), Some(value.to_owned())),
        None => (field.trim().to_lowercase(), None),
    };
    Ok(fields.into_iter().filter(|field| !field.trim().is_empty()).map(split).collect())
}

/// `64m`, `1g`, `512`: bytes with Docker's units, which are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64> {
    let lower = text.trim().to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        "t" => Some(40),
        _ => None,
    };
    let count =
        digits.parse::<u64>().ok().zip(shift).and_then(|(count, shift)| count.checked_mul(1 << shift));
    count.ok_or_else(|| Failure::usage(format!("`{text}` is no size")).hint("write it as `64m` or `1g`"))
}

/// `90s`, `30m`, `12h`, `7d`, `1h30m`: a time.
pub(super) fn duration(text: &str) -> Result<std::time::Duration> {
    let wrong = || Failure::usage(format!("`{text}` is no time")).hint("write it as `30m`, `12h` or `7d`");
    let mut rest = text.trim();
    let mut seconds = 0_u64;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let after = &rest[digits..];
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let unit = match &after[..letters] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            "w" => 7 * 86400,
            _ => return Err(wrong()),
        };
        let part = rest[..digits].parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        rest = &after[letters..];
        if rest.is_empty() {
            return Ok(std::time::Duration::from_secs(seconds));
        }
    }
}

/// `name:address` or `name=address`, with brackets around an IPv6 address or without.
pub(super) fn host(text: &str) -> Result<(String, String)> {
    let wrong = || {
        Failure::usage(format!("`--add-host {text}` is not of the form HOST:IP"))
            .hint("an example is `--add-host db.internal:10.0.0.5`")
    };
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(wrong)?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare == "host-gateway" {
        return Err(Failure::usage("`host-gateway` has no meaning here")
            .hint("RUN has the host's network: use 127.0.0.1"));
    }
    let valid = !name.is_empty() && !name.contains(char::is_whitespace);
    let address: IpAddr = bare.parse().map_err(|_| wrong())?;
    if valid { Ok((name.to_owned(), address.to_string())) } else { Err(wrong()) }
}

/// `nofile=1024:2048`; -1 is no limit.
pub(super) fn ulimit(text: &str) -> Result<(String, u64, u64)> {
    const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let wrong = || {
        Failure::usage(format!("`--ulimit {text}` is not of the form NAME=SOFT[:HARD]"))
            .hint(format!("names are {}", NAMES.join(", ")))
    };
    let number = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        _ => text.parse().ok(),
    };
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = number(soft).zip(number(hard)).ok_or_else(wrong)?;
    if !NAMES.contains(&name) || soft > hard {
        return Err(wrong());
    }
    Ok((name.to_owned(), soft, hard))
}

/// `--secret` and `--ssh`.
pub(super) fn secrets(secrets: &[String], agents: &[String], environment: &Environment) -> Result<Secrets> {
    let mut found = Secrets::default();
    for text in secrets {
        let (id, source) = secret(text, environment)?;
        found.secrets.insert(id, source);
    }
    for text in agents {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id.to_owned(), Some(PathBuf::from(socket))),
            None => (text.clone(), None),
        };
        let socket = socket.or_else(|| environment.path("SSH_AUTH_SOCK")).ok_or_else(|| {
            Failure::usage(format!("`--ssh {text}` names no socket, and `SSH_AUTH_SOCK` is not set"))
                .hint("start an agent with `eval $(ssh-agent)`, or write `--ssh default=SOCKET`")
        })?;
        use std::os::unix::fs::FileTypeExt as _;
        if !std::fs::metadata(&socket).is_ok_and(|metadata| metadata.file_type().is_socket()) {
            return Err(Failure::new(format!("`{}` is no socket of an SSH agent", socket.display()))
                .hint("key files are not read; add the key to an agent with `ssh-add`"));
        }
        found.agents.insert(id, socket);
    }
    Ok(found)
}

fn secret(text: &str, environment: &Environment) -> Result<(String, SecretSource)> {
    let (mut id, mut kind, mut file, mut variable) = (None, None, None, None);
    for (key, value) in fields("--secret", text)? {
        match key.as_str() {
            "id" => id = value,
            "type" => kind = value,
            "src" | "source" => file = value,
            "env" => variable = value,
            other => {
                return Err(Failure::usage(format!("`--secret` has no attribute `{other}`"))
                    .hint("attributes are id, type, src and env"));
            }
        }
    }
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Failure::usage(format!("`--secret {text}` has no `id=`")))?;
    if kind.as_deref() == Some("env") && variable.is_none() {
        variable = file.take().or_else(|| Some(id.clone()));
    }
    // Without more, an id names a variable if there is one, else a file.
    if variable.is_none()
        && file.is_none()
        && environment.exact(&id).is_some()
        && kind.as_deref() != Some("file")
    {
        variable = Some(id.clone());
    }
    let source = if let Some(name) = variable {
        let value = environment.exact(&name).ok_or_else(|| {
            Failure::new(format!("the secret `{id}` is to come from `{name}`, which is not set"))
        })?;
        SecretSource::Value(value.to_owned())
    } else {
        let path = PathBuf::from(file.unwrap_or_else(|| id.clone()));
        std::fs::File::open(&path).map_err(|error| {
            Failure::new(format!("cannot read the secret `{id}` from `{}`: {error}", path.display()))
        })?;
        SecretSource::File(path)
    };
    Ok((id, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_dockers_units() {
        for (text, count) in
            [("512", 512), ("64k", 65_536), ("64m", 64 << 20), ("1GB", 1 << 30), ("1gib", 1 << 30)]
        {
            assert_eq!(bytes(text).unwrap(), count, "{text}");
        }
        for text in ["", "m", "1x", "-1", "99999999999999999999t"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("1w", 604_800), ("1h30m0s", 5400)]
        {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "7", "d", "-1h", "1y", "1h30", "1h 2m", "99999999999999999999w"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_and_limits() {
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(host("db:10.0.0.5").unwrap(), pair("db", "10.0.0.5"));
        assert_eq!(host("db=[::1]").unwrap(), pair("db", "::1"));
        assert_eq!(host("db:::1").unwrap(), pair("db", "::1"));
        assert!(host("db").is_err() && host("db:x").is_err() && host(":1.1.1.1").is_err());
        assert_eq!(ulimit("nofile=1024:2048").unwrap(), ("nofile".to_owned(), 1024, 2048));
        assert_eq!(ulimit("core=-1").unwrap(), ("core".to_owned(), u64::MAX, u64::MAX));
        assert!(ulimit("nofile=5:1").is_err() && ulimit("x=1").is_err());
    }

    #[test]
    fn fields_are_csv() {
        let read = |text| fields("-o", text).unwrap();
        assert_eq!(read("type=oci,dest=a").len(), 2);
        assert_eq!(read(r#"type=image,"name=a,b",push"#)[1], ("name".to_owned(), Some("a,b".to_owned())));
        assert_eq!(read("push")[0], ("push".to_owned(), None));
        assert!(fields("-o", "\"x").is_err());
    }

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let environment = Environment::fake(false, &[("TOKEN", "t"), ("EMPTY", "")]);
        let value = |text: &str| match secret(text, &environment) {
            Ok((id, SecretSource::Value(value))) => format!("{id}={value}"),
            Ok((id, SecretSource::File(path))) => format!("{id}@{}", path.display()),
            Err(error) => error.to_string(),
        };
        assert_eq!(value("id=TOKEN"), "TOKEN=t");
        assert_eq!(value("id=t,env=TOKEN"), "t=t");
        assert_eq!(value("id=TOKEN,type=env"), "TOKEN=t");
        assert_eq!(value("id=e,env=EMPTY"), "e=");
        assert_eq!(value("id=f,src=/dev/null"), "f@/dev/null");
        assert!(value("id=f,src=/missing/file").contains("/missing/file"));
        assert!(value("src=/dev/null").contains("id="));
        assert!(value("id=t,env=UNSET").contains("UNSET"));
    }
}

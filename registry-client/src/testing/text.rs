//! The parsers of what strangers write, for fuzz targets: whatever the text, they end, and nothing of it is a panic.

use std::path::Path;

use crate::auth::{challenge, files};
use crate::hosts::HostSettings;
use crate::link;

/// Reads `WWW-Authenticate` headers, one a line. How many challenges there are, and the preferred one's scheme.
#[must_use]
pub fn challenges(lines: &str) -> (usize, Option<String>) {
    let found = challenge::parse(lines.lines());
    (found.len(), challenge::preferred(&found).map(|chosen| chosen.scheme.clone()))
}

/// Reads `Link` headers, one a line: the address of the next page.
#[must_use]
pub fn next_link(lines: &str) -> Option<String> {
    link::next(lines.lines())
}

/// Reads an auth file and looks a repository up in it; whether there is an entry.
#[must_use]
pub fn auth_file(bytes: &[u8], host: &str, repository: &str) -> bool {
    files::AuthFile::parse("fuzzed", bytes).is_ok_and(|file| file.entry(host, repository).is_some())
}

/// Reads a text as settings in each format, and plans `reference` with those that can be read; how many could.
#[must_use]
pub fn settings(text: &str, reference: &crate::Reference) -> usize {
    let directory = Path::new("/etc/rbuild");
    let readers: [fn(&mut HostSettings, &str, &Path) -> bool; 4] = [
        |settings, text, _| settings.merge_daemon_json(text.as_bytes()).is_ok(),
        |settings, text, _| settings.merge_registries_conf(text).is_ok(),
        |settings, text, place| settings.merge_hosts_toml("_default", text, place).is_ok(),
        |settings, text, place| settings.merge_registries_toml(text, place).is_ok(),
    ];
    let mut read = 0;
    for reader in readers {
        let mut settings = HostSettings::default();
        if reader(&mut settings, text, directory) {
            read += 1;
            // A plan may be an error; a panic it may not be.
            let _ = settings.endpoints(reference);
        }
    }
    read
}

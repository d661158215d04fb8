//! Registries that misbehave: each scenario ends in time, with every byte right, or with one clear message; and nobody
//! sees credentials that were not meant for them.

mod answers;
mod credentials;
mod pulls;
mod pushes;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use layer_store::Platform;
use registry_client::Error;

/// What a scenario ends with.
enum Expect {
    /// Everything is there.
    Fine,
    /// An error whose message, with its causes, holds this text.
    Fails(&'static str),
}

/// No scenario takes longer; what would is a hang.
const LIMIT: Duration = Duration::from_secs(45);

fn platform() -> Platform {
    Platform::new("linux", "amd64", None)
}

fn judge(name: &str, result: Result<(), Error>, expect: &Expect) {
    match (result, expect) {
        (Ok(()), Expect::Fine) => {}
        (Ok(()), Expect::Fails(text)) => panic!("{name}: succeeded, should fail with `{text}`"),
        (Err(error), Expect::Fine) => panic!("{name}: {}", layer_store::error::chain(&error)),
        (Err(error), Expect::Fails(text)) => {
            let message = layer_store::error::chain(&error);
            assert!(message.contains(text), "{name}: `{message}` does not say `{text}`");
            assert!(message.len() < 700 && !message.contains('\n'), "{name}: {message}");
            assert!(message.contains("127.0.0.1:"), "{name}: `{message}` does not say where");
        }
    }
}

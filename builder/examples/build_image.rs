//! Builds the image of a directory and pushes it: `build_image DIRECTORY NAME STORE`.

use std::io::Write as _;
use std::sync::Arc;

use builder::output::Output;
use builder::{BuildRequest, Engine, EngineSettings, Silent, sandbox};
use registry_client::{Client, ClientSettings};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // RUN needs a second process, which is this program once more.
    sandbox::run_helper_if_asked();
    tokio::runtime::Runtime::new()?.block_on(build())
}

async fn build() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [directory, name, store] = &words[..] else { return Err("build_image DIRECTORY NAME STORE".into()) };

    let client = Client::new(ClientSettings::default(), Arc::new(registry_client::Silent))?;
    let engine = Engine::open(&EngineSettings::at(store), Arc::new(client), Arc::new(Silent))?;

    let mut request = BuildRequest::of_directory(directory)?;
    request.tags.push(name.parse()?);
    request.outputs.push(Output::Registry);
    let built = engine.build(request, CancellationToken::new()).await?;
    writeln!(std::io::stdout(), "{}: {} steps ran, {} cached", built.id, built.ran, built.cached)?;
    Ok(())
}

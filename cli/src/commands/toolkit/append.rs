//! `rbuild append`

use builder::edit::NewLayer;
use tokio::sync::OnceCell;

use super::blob::open;
use super::delivery::rework;
use crate::args::toolkit::AppendArgs;
use crate::commands::Context;
use crate::failure::Result;

/// Puts layers on top of an image, of each of its platforms. No layer of the image moves.
pub(super) async fn run(context: &Context, args: &AppendArgs) -> Result<()> {
    let mut inputs = Vec::new();
    for path in &args.layers {
        inputs.push((open(path)?, path.display().to_string()));
    }
    // Taken in once, by the first platform that asks.
    let (inputs, layers) = (std::sync::Mutex::new(Some(inputs)), OnceCell::<Vec<NewLayer>>::new());
    rework(
        context,
        "append",
        &args.image,
        &args.result,
        async |engine, draft, _, packing| {
            let take = || async {
                let inputs = inputs.lock().map(|mut inputs| inputs.take()).unwrap_or_default();
                let mut layers = Vec::new();
                for (input, name) in inputs.unwrap_or_default() {
                    layers.push(engine.take_layer(input, &name, packing).await?);
                }
                Ok::<_, builder::Error>(layers)
            };
            for layer in layers.get_or_try_init(take).await? {
                draft.append(layer);
            }
            Ok(())
        },
        |_| {},
    )
    .await
}

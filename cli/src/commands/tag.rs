//! `rbuild tag`

use layer_store::store::ImageRecord;
use registry_client::Reference;

use super::Context;
use crate::args::image::TagArgs;
use crate::catalog;
use crate::failure::{Failure, Result};

/// Gives an image a further name.
pub(super) fn run(context: &Context, args: &TagArgs) -> Result<()> {
    let store = context.store()?;
    let name = Reference::parse(&args.name).map_err(|error| Failure::usage(error.to_string()))?;
    if name.digest().is_some() {
        return Err(Failure::usage(format!(
            "`{}` names a digest; an image's name is a repository and a tag",
            args.name
        )));
    }
    // All platforms of a name or an index go with it; the id of an image means that one.
    let record = catalog::whole(&store, &args.image)?;
    let record = match record {
        Some(record) => record,
        None => {
            let image = catalog::find(&store, &args.image)?;
            ImageRecord {
                name: String::new(),
                platforms: vec![image.platform],
                index: None,
                tagged: String::new(),
            }
        }
    };
    let tagged = jiff::Timestamp::now().to_string();
    store.tag(&ImageRecord { name: name.canonical(), tagged, ..record })?;
    Ok(())
}

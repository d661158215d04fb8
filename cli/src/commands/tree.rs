//! `rbuild tree`: what each layer of an image added, and what of it is wasted.

use std::collections::BTreeMap;

use layer_store::index::{Kind, PathBytes, path};
use layer_store::{Digest, ImageConfig, View};
use serde::Serialize;

use super::{Context, inside, print};
use crate::args::look::TreeArgs;
use crate::failure::{Failure, Result};
use crate::progress::{printable, shortened};
use crate::{size, table};

/// Shows the layers of an image.
pub(super) async fn run(context: &Context, args: &TreeArgs) -> Result<()> {
    let inside = inside::open(context, &args.image).await?;
    let report = Report::of(&inside.view, &inside.config, args.wasted);
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| Failure::of(&error))?;
        return print(&format!("{json}\n"));
    }
    print(&report.text())
}

/// The fields of `--json`.
#[derive(Serialize)]
struct Report {
    /// Bottom first.
    layers: Vec<Layer>,
    /// Bytes of all files of all layers.
    total: u64,
    /// Bytes of files that a later layer replaces or deletes.
    wasted: u64,
    /// The largest of those.
    largest: Vec<Wasted>,
}

#[derive(Serialize)]
struct Layer {
    diff_id: Digest,
    created_by: String,
    files: usize,
    size: u64,
    /// How many of these bytes a later layer hides.
    wasted: u64,
    /// How many paths of lower layers it deletes.
    deleted: usize,
}

#[derive(Serialize)]
struct Wasted {
    path: String,
    size: u64,
    /// The layer that has it, from 1.
    layer: usize,
}

impl Report {
    fn of(view: &View, config: &ImageConfig, most: usize) -> Self {
        let mut steps = config.history.iter().filter(|step| !step.empty_layer);
        let mut layers = Vec::new();
        // Where each file that is still seen came from.
        let mut alive: BTreeMap<PathBytes, (usize, u64)> = BTreeMap::new();
        let mut wasted: Vec<(PathBytes, usize, u64)> = Vec::new();
        for (at, (diff_id, index)) in view.layers().iter().enumerate() {
            let (mut files, mut bytes, mut deleted) = (0, 0, 0);
            for entry in index.entries() {
                if entry.kind.hides_below() {
                    let gone = below(&alive, &entry.path);
                    deleted += usize::from(matches!(entry.kind, Kind::Whiteout)) * gone.len();
                    for name in gone {
                        if let Some((layer, size)) = alive.remove(&name) {
                            wasted.push((name, layer, size));
                        }
                    }
                }
                if let Kind::File { size, .. } = entry.kind {
                    files += 1;
                    bytes += size;
                    alive.insert(entry.path.clone(), (at, size));
                }
            }
            let created_by = steps.next().and_then(|step| step.created_by.clone()).unwrap_or_default();
            layers.push(Layer { diff_id: *diff_id, created_by, files, size: bytes, wasted: 0, deleted });
        }
        for (_, layer, size) in &wasted {
            layers[*layer].wasted += size;
        }
        wasted.sort_by(|one, other| other.2.cmp(&one.2).then_with(|| one.0.cmp(&other.0)));
        let largest = wasted.iter().filter(|(_, _, size)| *size > 0).take(most);
        let largest = largest.map(|(name, layer, size)| Wasted {
            path: format!("/{}", path::printable(name)),
            size: *size,
            layer: layer + 1,
        });
        Self {
            largest: largest.collect(),
            total: layers.iter().map(|layer| layer.size).sum(),
            wasted: layers.iter().map(|layer| layer.wasted).sum(),
            layers,
        }
    }

    fn text(&self) -> String {
        let rows: Vec<[String; 6]> = self
            .layers
            .iter()
            .enumerate()
            .map(|(at, layer)| {
                [
                    (at + 1).to_string(),
                    layer.diff_id.short(),
                    size::bytes(layer.size),
                    layer.files.to_string(),
                    size::bytes(layer.wasted),
                    shortened(&printable(&layer.created_by).replace('\t', " "), 60),
                ]
            })
            .collect();
        let mut text = table::columns(["#", "LAYER", "SIZE", "FILES", "WASTED", "CREATED BY"], &rows);
        text += &format!(
            "\n{} in {} layers, {} wasted\n",
            size::bytes(self.total),
            self.layers.len(),
            size::bytes(self.wasted)
        );
        for one in &self.largest {
            text += &format!("  {:>8}  layer {}  {}\n", size::bytes(one.size), one.layer, one.path);
        }
        text
    }
}

/// The files at and below a path.
fn below(files: &BTreeMap<PathBytes, (usize, u64)>, at: &[u8]) -> Vec<PathBytes> {
    let mut inside = at.to_vec();
    inside.push(b'/');
    let at_it = files.contains_key(at).then(|| at.to_vec());
    let below = files.range(inside.clone()..).map(|(name, _)| name.clone());
    let below = below.take_while(|name| at.is_empty() || name.starts_with(&inside));
    if at.is_empty() { files.keys().cloned().collect() } else { at_it.into_iter().chain(below).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;
    use std::sync::Arc;

    use layer_store::{Entry, Index};

    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        let path = path.as_bytes().to_vec();
        Entry { path, kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: Map::new() }
    }

    #[test]
    fn hidden_bytes_are_wasted_where_they_are() {
        let file = |path: &str, size| entry(path, Kind::File { size, offset: 0 });
        let directory = |path: &str, opaque| entry(path, Kind::Directory { opaque });
        let layers = [
            vec![directory("a", false), file("a/x", 100), file("a/y", 10), file("b", 1000), file("bc", 7)],
            vec![file("b", 2000), directory("a", true), file("a/z", 1)],
            vec![entry("b", Kind::Whiteout)],
        ];
        let layers =
            layers.into_iter().map(|entries| (Digest::of(b""), Arc::new(Index::new(entries)))).collect();
        let report = Report::of(&View::new(layers), &ImageConfig::default(), 2);
        let wasted: Vec<u64> = report.layers.iter().map(|layer| layer.wasted).collect();
        assert_eq!(wasted, [1110, 2000, 0]);
        assert_eq!((report.total, report.wasted), (3118, 3110));
        let largest: Vec<(&str, usize)> =
            report.largest.iter().map(|one| (one.path.as_str(), one.layer)).collect();
        assert_eq!(largest, [("/b", 2), ("/b", 1)]);
        assert_eq!(report.layers[2].deleted, 1);
    }
}

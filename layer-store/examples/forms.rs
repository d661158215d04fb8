//! One form of a layer from another, for benchmarks:
//!
//! ```text
//! forms apply STORE BLOB DIFFID     blob to tree
//! forms index STORE BLOB DIFFID     blob to index, nothing extracted
//! forms diff STORE UPPER            the upper directory of an overlay to tree and index
//! forms compress TAR gzip:6|zstd:3 THREADS
//! forms digest BLOB                 prints the diffID
//! ```
//!
//! Nothing is synced, as the tools beside it do not sync.

use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;

use layer_store::digest::HashingReader;
use layer_store::layer::{Compression, Encoder, Form, Limits, decompress};
use layer_store::store::Durability;
use layer_store::{Digest, Store, StoreOptions, View};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["apply", store, blob, diff_id] => apply(store, blob, diff_id, Form::Tree),
        ["index", store, blob, diff_id] => apply(store, blob, diff_id, Form::Index),
        ["diff", store, upper] => {
            open(store)?.commit_upper(Path::new(upper), &View::default(), &Default::default())?;
            Ok(())
        }
        ["compress", tar, how, threads] => compress(tar, how, threads.parse()?),
        ["digest", blob] => {
            let mut bytes = HashingReader::new(decompress(File::open(blob)?, Limits::default())?);
            io::copy(&mut bytes, &mut io::sink())?;
            writeln!(io::stdout(), "{}", bytes.finish().1)?;
            Ok(())
        }
        _ => Err("see the head of the source for the words that it takes".into()),
    }
}

fn open(store: &str) -> Result<Store> {
    let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
    Ok(Store::open(Path::new(store), options)?)
}

fn apply(store: &str, blob: &str, diff_id: &str, form: Form) -> Result<()> {
    let diff_id: Digest = diff_id.parse()?;
    open(store)?.apply(&mut File::open(blob)?, &diff_id, form)?;
    Ok(())
}

fn compress(tar: &str, how: &str, threads: NonZeroUsize) -> Result<()> {
    let compression = match how.split_once(':') {
        Some(("gzip", level)) => Compression::Gzip(level.parse()?),
        Some(("zstd", level)) => Compression::Zstd(level.parse()?),
        _ => Compression::None,
    };
    let mut encoder = Encoder::new(io::sink(), compression, threads)?;
    io::copy(&mut io::BufReader::with_capacity(1 << 20, File::open(tar)?), &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

//! Contexts that are not directories of this machine: archives, URLs, git repositories. Each becomes a filesystem of
//! the graph, and the Dockerfile is read from there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use layer_store::Digest;
use layer_store::digest::Hasher;

use crate::context::git::GitSource;
use crate::copy::{Fetched, begins_an_archive};
use crate::dockerfile::{Source, decode};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::{CopySource, Graph};
use crate::input::DOCKERFILE_LIMIT;
use crate::lower::{NamedContext, context_node};
use crate::secret::Secrets;
use crate::solve::{Layers, Solver, Surroundings};

/// What came in place of a context directory.
#[derive(Debug, Clone)]
pub enum Arrived {
    /// A Dockerfile alone.
    Dockerfile(Source),
    /// An archive of files.
    Archive(Fetched),
}

impl Engine {
    /// Takes a stream (standard input, for instance) to its end: an archive is spooled, anything else is a Dockerfile.
    /// Blocks.
    pub fn take_in(&self, name: &str, input: &mut dyn Read) -> Result<Arrived> {
        let failed = |source| Error::File { action: "read", path: name.to_owned(), source: Arc::new(source) };
        let scratch = self.store.scratch()?;
        let mut file = tempfile::tempfile_in(scratch.path()).map_err(failed)?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = input.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(failed)?;
        }
        file.rewind().map_err(failed)?;
        let size = hasher.bytes();
        arrived(
            name,
            Fetched {
                name: "context".to_owned(),
                file: Arc::new(file),
                size,
                digest: hasher.finish(),
                mtime: 0,
            },
        )
    }

    /// Fetches a context by URL: an archive, or a Dockerfile.
    pub async fn fetch_context(&self, url: &str) -> Result<Arrived> {
        let scratch = self.store.scratch()?;
        let download = self.client.download(url, scratch.path(), None).await?;
        let download = download.ok_or_else(|| Error::Internal("an unasked-for 304".to_owned()))?;
        let mtime = download.version.modified().unwrap_or(0);
        let fetched = Fetched {
            name: "context".to_owned(),
            file: download.file,
            size: download.size,
            digest: download.digest,
            mtime,
        };
        arrived(url, fetched)
    }

    /// Reads the Dockerfile at `path` from a remote context. Without a path it is `Dockerfile`, or `dockerfile` if
    /// there is none. `secrets` have what the server of a repository asks for ([`Authorization::of`]).
    ///
    /// [`Authorization::of`]: crate::context::authorization::Authorization::of
    pub async fn remote_dockerfile(
        &self,
        context: &NamedContext,
        archives: &HashMap<Digest, Fetched>,
        secrets: &Secrets,
        path: Option<&str>,
    ) -> Result<Source> {
        let candidates = path.map_or_else(|| vec!["Dockerfile", "dockerfile"], |path| vec![path]);
        let found = self.remote_files(context, archives, secrets, &candidates).await?.into_iter().next();
        found.ok_or_else(|| Error::Invalid {
            message: format!("there is no `{}` in the context", candidates[0]),
            help: Some("`--file` names a Dockerfile of another name or place in the context".to_owned()),
        })
    }

    /// Reads those of the files that a remote context has, in the order of `names`. Each may be as large as a Dockerfile.
    pub async fn remote_files(
        &self,
        context: &NamedContext,
        archives: &HashMap<Digest, Fetched>,
        secrets: &Secrets,
        names: &[&str],
    ) -> Result<Vec<Source>> {
        let source = match context {
            NamedContext::Git(git) => CopySource::Git(GitSource::clone(git)),
            NamedContext::Archive(digest) => CopySource::Archive(*digest),
            NamedContext::Directory
            | NamedContext::Image(_)
            | NamedContext::Layout(_)
            | NamedContext::Stored { .. } => {
                return Err(Error::Internal("this context is not remote".to_owned()));
            }
        };
        let mut graph = Graph::default();
        let node = context_node(&mut graph, source);
        let layers = Layers::new(self.store.clone(), self.client.clone(), &graph);
        let around =
            Surroundings { archives: archives.clone(), secrets: secrets.clone(), ..self.surroundings() };
        let solver = Solver::new(Arc::new(graph), around, layers);
        let solved = solver.solve(node).await.map_err(|error| solver.cause(error))?;
        let view = solver.layers().view(&solved.layers).await?;
        let mut files = Vec::new();
        for name in names {
            if let Some(bytes) = self.store.read_file(&view, name.as_bytes(), DOCKERFILE_LIMIT)? {
                files.push(text(name, &bytes)?);
            }
        }
        Ok(files)
    }
}

/// An archive by its first bytes, or else a Dockerfile.
fn arrived(name: &str, fetched: Fetched) -> Result<Arrived> {
    let failed = |source| Error::File { action: "read", path: name.to_owned(), source: Arc::new(source) };
    let mut head = [0; 512];
    let mut length = 0;
    while length < head.len() {
        match fetched.file.read_at(&mut head[length..], length as u64).map_err(failed)? {
            0 => break,
            read => length += read,
        }
    }
    let head = &head[..length];
    let compressed: [&[u8]; 4] =
        [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    let archive =
        compressed.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar");
    let mut file: &File = &fetched.file;
    file.rewind().map_err(failed)?;
    if archive {
        if !begins_an_archive(file.try_clone().map_err(failed)?) {
            return Err(Error::invalid(format!(
                "`{name}` begins as an archive does and cannot be read as one: it is damaged, cut off, or no tar"
            )));
        }
        return Ok(Arrived::Archive(fetched));
    }
    let mut bytes = Vec::new();
    file.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > DOCKERFILE_LIMIT {
        return Err(Error::invalid(format!(
            "the Dockerfile of `{name}` is larger than {DOCKERFILE_LIMIT} bytes"
        )));
    }
    text(name, &bytes).map(Arrived::Dockerfile)
}

fn text(name: &str, bytes: &[u8]) -> Result<Source> {
    let text =
        decode(bytes).map_err(|line| Error::invalid(format!("line {line} of `{name}` is not UTF-8 text")))?;
    Ok(Source::new(name, text))
}

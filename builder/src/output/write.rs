//! Writes images and filesystems to files and directories.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use layer_store::layer::{FileSource, Form, NewEntry, NewKind};
use layer_store::layout::ExportImage;
use layer_store::view::Located;
use layer_store::{Kind, Platform, Store, View, archive, layout};
use registry_client::Reference;

use super::{Destination, Output, Packed, directory, failed};
use crate::error::{Error, Result};

/// Writes an image whose blobs are in the store, under its names. An index has no platform of its own.
pub fn write(
    store: &Store,
    packed: &Packed,
    platform: Option<Platform>,
    names: &[Reference],
    output: &Output,
) -> Result<()> {
    let names: Vec<String> = names.iter().map(Reference::canonical).collect();
    if matches!(output, Output::Docker { .. }) && !packed.children.is_empty() {
        return Err(Error::Invalid {
            message: "a Docker archive holds one platform, and this build makes several".to_owned(),
            help: Some("`type=oci` holds them all".to_owned()),
        });
    }
    let image = ExportImage { manifest: packed.manifest.clone(), platform, names };
    write_images(store, &[image], output)
}

/// Writes several images whose blobs are in the store into one archive or layout.
pub fn write_images(store: &Store, images: &[ExportImage], output: &Output) -> Result<()> {
    match output {
        Output::Oci { dest: Destination::File(path), tar: false } => {
            Ok(layout::write_directory(store, images, path)?)
        }
        Output::Oci { dest, .. } => to(dest, |file| Ok(layout::write_tar(store, images, file)?)),
        Output::Docker { dest } => to(dest, |file| Ok(archive::write(store, images, file)?)),
        Output::Tar { .. } | Output::Local { .. } | Output::Registry => {
            Err(Error::Internal("this output takes no image file".to_owned()))
        }
    }
}

/// Writes the filesystems of images: one as it is, several in directories that are named for their platforms, as
/// buildx has it (`linux_arm64`).
pub(crate) fn write_filesystems(store: &Store, views: &[(Platform, View)], output: &Output) -> Result<()> {
    let single = views.len() == 1;
    let place = |platform: &Platform| platform.to_string().replace('/', "_");
    match output {
        Output::Local { dest } => {
            for (platform, view) in views {
                let dest = if single { dest.clone() } else { dest.join(place(platform)) };
                directory::write(store, view, &dest)?;
            }
            Ok(())
        }
        Output::Tar { dest } => {
            let mut entries = Vec::new();
            for (platform, view) in views {
                let below = if single { Vec::new() } else { place(platform).into_bytes() };
                entries.extend(flattened(view, &below));
            }
            // One layer that holds everything has the tar that is wanted.
            let diff_id = store.write_layer(entries, Form::Tar)?;
            to(dest, |file| Ok(store.write_tar(&diff_id, file)?))
        }
        _ => Err(Error::Internal("this output takes no filesystem".to_owned())),
    }
}

/// Everything that a view shows, as entries of one layer, in the directory `below` of it.
pub(crate) fn flattened(view: &View, below: &[u8]) -> Vec<NewEntry> {
    let placed = |path: &[u8]| match (below, path) {
        ([], path) => path.to_vec(),
        (below, []) => below.to_vec(),
        (below, path) => [below, path].join(&b'/'),
    };
    let mut entries = Vec::new();
    for located in view.walk(b"") {
        if let Some(mut kind) = flattened_kind(view, located) {
            if let NewKind::Hardlink { target } = &mut kind {
                *target = placed(target);
            }
            let entry = located.entry;
            entries.push(NewEntry {
                path: placed(&entry.path),
                kind,
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                mtime: entry.mtime,
                xattrs: entry.xattrs.clone(),
            });
        }
    }
    entries
}

fn flattened_kind(view: &View, located: Located<'_>) -> Option<NewKind> {
    Some(match &located.entry.kind {
        Kind::Directory { .. } => NewKind::Directory { opaque: false },
        Kind::File { .. } | Kind::Hardlink { .. } => {
            let content = view.content(located)?;
            let Kind::File { size, .. } = content.entry.kind else { return None };
            // A link whose other name is still there stays one; else its bytes come along.
            match &located.entry.kind {
                Kind::Hardlink { target } if same_file(view, target, content) => {
                    NewKind::Hardlink { target: target.clone() }
                }
                _ => {
                    let source =
                        FileSource::Layer { diff_id: content.diff_id, path: content.entry.path.clone() };
                    NewKind::File { size, source }
                }
            }
        }
        Kind::Symlink { target } => NewKind::Symlink { target: target.clone() },
        Kind::CharDevice { major, minor } => NewKind::CharDevice { major: *major, minor: *minor },
        Kind::BlockDevice { major, minor } => NewKind::BlockDevice { major: *major, minor: *minor },
        Kind::Fifo => NewKind::Fifo,
        Kind::Whiteout => return None,
    })
}

fn same_file(view: &View, target: &[u8], content: Located<'_>) -> bool {
    view.lookup(target).is_some_and(|found| {
        found.diff_id == content.diff_id
            && found.entry.path == content.entry.path
            && matches!(found.entry.kind, Kind::File { .. })
    })
}

/// Streams to standard output, or to a file that appears when it is complete.
pub(crate) fn to(dest: &Destination, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    match dest {
        Destination::Stdout => {
            let mut output = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            write(&mut output)?;
            output.flush().map_err(|error| failed("write to", Path::new("standard output"), error))
        }
        Destination::File(path) => {
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // A pipe or device is written to as it is; a file is replaced when the new one is whole.
            if std::fs::metadata(path).is_ok_and(|known| !known.is_file()) {
                let file = File::create(path).map_err(|error| failed("open", path, error))?;
                return through(file, path, write).map(|_| ());
            }
            let temporary = tempfile::Builder::new()
                .prefix(".rbuild-")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .tempfile_in(parent)
                .map_err(|error| failed("create a file in", parent, error))?;
            let (file, name) = temporary.into_parts();
            through(file, path, write)?;
            name.persist(path).map_err(|error| failed("create", path, error.error))
        }
    }
}

fn through(file: File, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<File> {
    let mut output = BufWriter::with_capacity(1 << 20, file);
    write(&mut output)?;
    output.into_inner().map_err(|error| failed("write", path, error.into_error()))
}

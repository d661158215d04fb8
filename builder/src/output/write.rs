//! Writes images and filesystems to files and directories.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use layer_store::layer::NewEntry;
use layer_store::layout::ExportImage;
use layer_store::{Platform, Store, View, archive, layout};
use registry_client::Reference;

use super::{Destination, Output, Packed, directory, failed, flat};
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
    let mut images = vec![ExportImage { manifest: packed.manifest.clone(), platform, names }];
    for one in &packed.attached {
        images.push(ExportImage { manifest: one.manifest(store)?, platform: None, names: Vec::new() });
    }
    write_images(store, &images, output)
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

/// Writes the filesystems of images, as they are read: nothing of them stays in the store. One stands as it is, several
/// in directories that are named for their platforms, as buildx has it (`linux_arm64`). With `epoch` all files have that
/// time, as BuildKit's tar and local outputs give them.
pub(crate) fn write_filesystems(
    store: &Store,
    views: &[(Platform, View)],
    output: &Output,
    epoch: Option<i64>,
) -> Result<()> {
    let mut entries: Vec<NewEntry> = Vec::new();
    for (platform, view) in views {
        let own = flat::entries(view, b"", epoch);
        match views {
            [_] => entries = own,
            _ => entries.extend(flat::under(own, platform.to_string().replace('/', "_").as_bytes())),
        }
    }
    match output {
        Output::Local { dest } => directory::write(store, entries, dest),
        // One layer that holds everything has the tar that is wanted.
        Output::Tar { dest } => to(dest, |file| Ok(store.stream_layer(entries, file)?)),
        _ => Err(Error::Internal("this output takes no filesystem".to_owned())),
    }
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

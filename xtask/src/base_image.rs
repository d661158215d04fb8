//! Base images that were made without rbuild.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::packages;
use crate::upload::{self, Layer};

/// When everything in a hand-made image was made: 2026-01-01, so that the image is the same on every run.
const MADE: u64 = 1_767_225_600;

/// Pushes Debian's busybox-static as `library/busybox:1` to the registry at `address`. Returns the digest.
pub fn push_busybox(address: &str) -> Result<String> {
    let layer = upload::layer(&busybox_tar()?)?;
    let config = json!({"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["sh"]});
    upload::image(address, "library/busybox", "1", &[layer], &config)
}

/// A root filesystem around Debian's static busybox.
pub fn busybox_tar() -> Result<Vec<u8>> {
    let program = packages::unpacked("busybox-static", "busybox")?;
    let binary = fs::read(&program).with_context(|| format!("cannot read `{}`", program.display()))?;
    let list = Command::new(&program).arg("--list").output().context("busybox --list")?;
    let applets = String::from_utf8(list.stdout)?;

    let mut root = Rootfs::default();
    for directory in ["bin", "etc", "home", "usr", "usr/bin", "usr/local", "usr/local/bin", "var", "var/www"]
    {
        root.directory(directory, 0o755)?;
    }
    root.directory("root", 0o700)?;
    root.directory("tmp", 0o1777)?;
    root.file("bin/busybox", &binary, 0o755)?;
    for applet in applets.lines().filter(|name| *name != "busybox") {
        root.symlink(&format!("bin/{applet}"), "busybox")?;
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                  www-data:x:33:33:www-data:/var/www:/bin/false\n\
                  nobody:x:65534:65534:nobody:/home:/bin/false\n";
    root.file("etc/passwd", passwd.as_bytes(), 0o644)?;
    root.file("etc/group", b"root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n", 0o644)?;
    root.finish()
}

/// Pushes a Debian root filesystem, made by mmdebstrap once and kept at `tarball`, as `library/debian:bookworm`.
pub fn push_debian(address: &str, tarball: &Path) -> Result<String> {
    let layer = debian_layer(tarball)?;
    let config = json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]});
    upload::image(address, "library/debian", "bookworm", &[layer], &config)
}

fn debian_layer(tarball: &Path) -> Result<Layer> {
    debian_tar(tarball)?;
    upload::layer(&fs::read(tarball)?)
}

/// Makes a Debian root filesystem at `tarball` with mmdebstrap, unless it is there.
pub fn debian_tar(tarball: &Path) -> Result<()> {
    if !tarball.exists() {
        // Made beside and renamed: two runs may meet here.
        let fresh = tarball.with_extension(format!("{}.tar", std::process::id()));
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", "bookworm"]).arg(&fresh);
        packages::run(&mut command)?;
        fs::rename(&fresh, tarball)?;
    }
    Ok(())
}

/// A small root filesystem, written as a tar in which everything belongs to root.
#[derive(Default)]
pub struct Rootfs {
    tar: Option<tar::Builder<Vec<u8>>>,
}

impl Rootfs {
    /// Adds a directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        let header = header(tar::EntryType::Directory, mode, 0);
        self.append(header, &format!("{path}/"), &[])
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let header = header(tar::EntryType::Regular, mode, bytes.len() as u64);
        self.append(header, path, bytes)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        header.set_link_name(target)?;
        self.append(header, path, &[])
    }

    /// The tar's bytes.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(self.tar.unwrap_or_else(|| tar::Builder::new(Vec::new())).into_inner()?)
    }

    fn append(&mut self, mut header: tar::Header, path: &str, bytes: &[u8]) -> Result<()> {
        let tar = self.tar.get_or_insert_with(|| tar::Builder::new(Vec::new()));
        tar.append_data(&mut header, path, bytes).with_context(|| format!("cannot add `{path}`"))
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MADE);
    header.set_uid(0);
    header.set_gid(0);
    header
}

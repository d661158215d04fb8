//! `cargo xtask dist`: the release binary that needs nothing beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use xtask::{is_root, packages, repository, target_directory};

/// Where Debian keeps the certificate authorities.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Builds the static binary, checks it, and puts it into `dist/`.
pub(crate) fn run() -> Result<()> {
    crate::need_compiler()?;
    let target = target();
    need_target(&target)?;
    let built = build(Some(&target))?;

    let needs = dynamic_needs(&fs::read(&built)?)?;
    if !needs.is_empty() {
        bail!("`{}` is not self-contained: it has {}", built.display(), needs.join(" and "));
    }
    println!("static: no interpreter, no shared library");
    runs_alone(&built)?;

    let place = repository().join("dist");
    fs::create_dir_all(&place)?;
    let file = place.join(format!("rbuild-{}-{target}", env!("CARGO_PKG_VERSION")));
    fs::copy(&built, &file)?;
    let size = fs::metadata(&file)?.len();
    println!("{} ({:.1} MB)", file.display(), megabytes(size));
    Ok(())
}

/// The release binary: the static one, or where its target cannot be had, the machine's own.
pub(crate) fn release() -> Result<PathBuf> {
    let target = target();
    match need_target(&target) {
        Ok(()) => build(Some(&target)),
        Err(error) => {
            eprintln!("no static binary this time: {error:#}");
            build(None)
        }
    }
}

fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

fn build(target: Option<&str>) -> Result<PathBuf> {
    let mut cargo = crate::cargo();
    cargo.args(["build", "--release", "--package", "cli"]);
    let mut place = target_directory();
    if let Some(target) = target {
        cargo.args(["--target", target]);
        place.push(target);
    }
    packages::run(&mut cargo)?;
    Ok(place.join("release/rbuild").canonicalize()?)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn need_target(target: &str) -> Result<()> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output()?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && libraries.is_dir() {
        return Ok(());
    }
    eprintln!("adding the Rust target {target}");
    packages::run(Command::new("rustup").args(["target", "add", target])).with_context(|| {
        format!(
            "the standard library for {target} is not installed; `rustup target add {target}` installs it \
             (with a Rust that did not come from rustup, install its musl target)"
        )
    })
}

/// What an ELF file asks of the machine before it starts: an interpreter, shared libraries.
fn dynamic_needs(file: &[u8]) -> Result<Vec<&'static str>> {
    const INTERPRETER: u64 = 3;
    const DYNAMIC: u64 = 2;
    const NEEDED: u64 = 1;
    let number = |offset: usize, bytes: usize| -> Result<u64> {
        let field = file.get(offset..offset + bytes).context("the binary ends too early")?;
        Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let place = |offset: usize| -> Result<usize> { Ok(usize::try_from(number(offset, 8)?)?) };
    if !file.starts_with(b"\x7fELF\x02\x01") {
        bail!("the binary is no 64-bit little-endian ELF file");
    }
    let (table, entry, count) = (place(32)?, number(54, 2)?, number(56, 2)?);
    let mut needs = Vec::new();
    for header in 0..usize::try_from(count)? {
        let header = table + header * usize::try_from(entry)?;
        let kind = number(header, 4)?;
        if kind == INTERPRETER {
            needs.push("an interpreter");
        }
        if kind == DYNAMIC {
            let (start, size) = (place(header + 8)?, place(header + 32)?);
            for offset in (start..start + size).step_by(16) {
                if number(offset, 8)? == NEEDED {
                    needs.push("shared libraries");
                    break;
                }
            }
        }
    }
    Ok(needs)
}

/// Starts the binary in a root directory that holds only it and the certificate authorities: what an image
/// `FROM scratch` would give it.
fn runs_alone(binary: &Path) -> Result<()> {
    let root = tempfile::tempdir()?;
    fs::copy(binary, root.path().join("rbuild"))?;
    let bundle = Path::new("/").join(AUTHORITIES);
    if bundle.exists() {
        let copy = root.path().join(AUTHORITIES);
        fs::create_dir_all(copy.parent().unwrap_or(root.path()))?;
        fs::copy(bundle, copy)?;
    }
    let mut command = if is_root() {
        let mut chroot = Command::new(packages::find("chroot").context("there is no `chroot` here")?);
        chroot.arg(root.path());
        chroot
    } else {
        // A plain user may change its root inside a user namespace of its own.
        let mut unshare = Command::new("unshare");
        unshare.arg("--map-root-user").arg(format!("--root={}", root.path().display()));
        unshare
    };
    let output = command.arg("/rbuild").arg("version").env_clear().output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = if is_root() { "" } else { " (as a plain user this needs user namespaces)" };
        bail!("`rbuild version` does not run in an empty root{place}: {}", said.trim());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    println!("runs in a root that holds only it: {}", said.lines().next().unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::dynamic_needs;

    #[test]
    fn a_dynamic_binary_is_told_from_a_static_one() {
        let shell = std::fs::read("/bin/sh").unwrap();
        assert_eq!(dynamic_needs(&shell).unwrap(), ["an interpreter", "shared libraries"]);
        assert!(dynamic_needs(b"\x7fELF\x02\x01").is_err());
        assert!(dynamic_needs(b"#!/bin/sh\n").is_err());
    }
}

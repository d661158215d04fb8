//! Programs that come from Debian packages: found, installed, or unpacked beside the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{is_root, target_directory};

/// Where a program is: on `PATH`, in the sbin directories (a plain user's `PATH` lacks them), or unpacked by
/// [`unpacked`].
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(["usr/bin", "usr/sbin", "bin"].map(|directory| packages_directory().join(directory)))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// A program of a package that needs nothing but libc: found, or fetched from the Debian archive and unpacked below
/// the target directory. No privilege, nothing installed, no service started (docker-registry's package would take
/// port 5000).
pub fn unpacked(package: &str, program: &str) -> Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    fetch(package).with_context(|| {
        format!(
            "`{program}` is not on this machine, and Debian's package `{package}` cannot be fetched; \
             install it with `apt-get install {package}` and try again"
        )
    })?;
    find(program).with_context(|| format!("package `{package}` holds no `{program}`"))
}

fn packages_directory() -> PathBuf {
    target_directory().join("xtask/packages")
}

fn fetch(package: &str) -> Result<()> {
    let apt = find("apt-get").context("there is no `apt-get` here: this is not Debian")?;
    eprintln!("fetching Debian's {package} (unpacked below the target directory, not installed)");
    let place = packages_directory();
    fs::create_dir_all(&place)?;
    let place = place.canonicalize()?;
    let quiet = |arguments: &[String]| -> Result<bool> {
        let status = Command::new(&apt)
            .args(["-qq", "-o", "APT::Sandbox::User="])
            .args(arguments)
            .current_dir(&place)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status.success())
    };
    let download = ["download".to_owned(), package.to_owned()];
    if !quiet(&download)? {
        // The machine's own package lists are missing or old. Private ones need no privilege.
        let state = private_lists(&place)?;
        let with_state = |words: &[String]| state.iter().chain(words).cloned().collect::<Vec<_>>();
        if !quiet(&with_state(&["update".to_owned()]))? || !quiet(&with_state(&download))? {
            bail!("`apt-get download {package}` failed, with fresh package lists too");
        }
    }
    let archive = fs::read_dir(&place)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
        })
        .with_context(|| format!("`apt-get download {package}` left no archive"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&place))?;
    fs::remove_file(archive)?;
    Ok(())
}

fn private_lists(place: &Path) -> Result<Vec<String>> {
    let state = place.join("apt");
    for directory in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(state.join(directory))?;
    }
    let option = |name: &str, directory: &str| {
        ["-o".to_owned(), format!("{name}={}", state.join(directory).display())]
    };
    Ok([option("Dir::State::lists", "lists"), option("Dir::Cache", "cache")].concat())
}

/// Installs packages, each unless its program is there already: as root on Debian. Elsewhere it returns the packages
/// that are missing, and changes nothing.
pub fn install(packages: &[(&'static str, &str)]) -> Result<Vec<&'static str>> {
    let missing: Vec<&'static str> =
        packages.iter().filter(|(_, program)| find(program).is_none()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let Some(apt) = find("apt-get").filter(|_| is_root()) else { return Ok(missing) };
    eprintln!("installing {}", missing.join(" "));
    let quiet = |arguments: &[&str]| {
        let mut command = Command::new(&apt);
        // RUNLEVEL=1: packages with a service must not start it here.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").arg("-qq").args(arguments);
        command.stdout(Stdio::null());
        run(&mut command)
    };
    quiet(&["update"])?;
    quiet(&[["install", "-y", "--no-install-recommends"].as_slice(), &missing].concat())?;
    Ok(Vec::new())
}

/// Runs a command to its end; a failure names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ");
    let status = command.status().with_context(|| format!("cannot start `{words}`"))?;
    if !status.success() {
        bail!("`{words}` failed ({status})");
    }
    Ok(())
}

//! Programs for other machines: what they are, and what runs them here.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;

/// Machines of ELF files (`linux/elf-em.h`): number, name as in a platform, and the emulator of Debian's
/// `qemu-user-static`.
const MACHINES: [(u16, &str, &str); 9] = [
    (3, "386", "i386"),
    (8, "mips64le", "mips64el"),
    (20, "ppc", "ppc"),
    (21, "ppc64le", "ppc64le"),
    (22, "s390x", "s390x"),
    (40, "arm", "arm"),
    (62, "amd64", "x86_64"),
    (183, "arm64", "aarch64"),
    (243, "riscv64", "riscv64"),
];

/// Why the kernel does not run a program (`ENOEXEC`), and what makes it run. The program is named as it was asked for;
/// one without `/` that was found in `PATH` is not looked at.
pub(super) fn reason(program: &OsStr) -> String {
    let Some(machine) = machine(program) else {
        return "it is not a program for this machine (or a script without a `#!` line)".to_owned();
    };
    let Some((_, name, emulator)) = MACHINES.iter().find(|(number, _, _)| *number == machine) else {
        return format!("it is a program for another machine (ELF machine {machine})");
    };
    format!(
        "it is a program for {name}, and nothing here runs those; install an emulator for the whole machine: \
         `apt-get install qemu-user-static binfmt-support` (it registers qemu-{emulator} in binfmt_misc)"
    )
}

/// The machine that an ELF file is for, if it is not this one.
fn machine(program: &OsStr) -> Option<u16> {
    let mut header = [0; 20];
    File::open(program).ok()?.read_exact(&mut header).ok()?;
    if !header.starts_with(b"\x7fELF") {
        return None;
    }
    let bytes = [header[18], header[19]];
    // The sixth byte says in which order the others are.
    let machine = if header[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    let own = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    (machine != own).then_some(machine)
}

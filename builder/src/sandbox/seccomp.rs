//! Which system calls a step may make: Docker's default profile (moby `profiles/seccomp/default.json`), as its
//! complement. Up to the last number that this table was written against everything is allowed that is not listed;
//! later calls do not exist (`ENOSYS`), so that programs fall back to older ones.

use rustix::thread::CapabilitySet;

use super::sys::Instruction;

/// The filter for a step that holds `capabilities`.
pub(super) fn filter(capabilities: CapabilitySet) -> Vec<Instruction> {
    let mut program = Program::default();
    program.load(ARCH_OFFSET);
    #[cfg(target_arch = "x86_64")]
    {
        let mut compatible = Program::default();
        compatible.table(&I386, capabilities);
        // Jumps reach 255 instructions, so the 32-bit part comes right behind the test that skips it.
        program.unless_equal_skip(AUDIT_ARCH_I386, &compatible);
    }
    program.unless_equal_return(NATIVE_ARCH, libc::SECCOMP_RET_KILL_PROCESS);
    program.table(&NATIVE, capabilities);
    program.0
}

/// What happens to a call that is in the table.
#[derive(Clone, Copy)]
enum Rule {
    /// `EPERM`, unless the step holds this capability.
    Needs(CapabilitySet),
    /// `EPERM`.
    Never,
    /// `ENOSYS` without `SYS_ADMIN`: its flags are in memory, where a filter cannot look; libc falls back to clone.
    Clone3,
    /// `EPERM` if the flags ask for a namespace and the step is without `SYS_ADMIN`.
    Clone,
    /// `EPERM` for the families that give access to the host's kernel: `AF_ALG` and `AF_VSOCK`.
    Socket,
    /// Only the execution domains that change nothing dangerous.
    Personality,
}

/// The calls of one architecture.
struct Table {
    /// The highest number that is known.
    last: u32,
    rules: &'static [(u32, Rule)],
}

const ARCH_OFFSET: u32 = 4;
const NUMBER_OFFSET: u32 = 0;
/// The low half of the first argument (all supported architectures are little-endian). The kernel takes an `int` or
/// the low 32 flag bits from it, so the high half must not decide.
const FIRST_ARGUMENT_OFFSET: u32 = 16;

#[cfg(target_arch = "x86_64")]
const NATIVE_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE_ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

const NAMESPACES: u32 = 0x7e02_0000;
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

use CapabilitySet as Cap;
use Rule::{Clone as CloneCall, Clone3, Needs, Never, Personality, Socket};

#[cfg(target_arch = "x86_64")]
const NATIVE: Table = Table {
    last: 469,
    rules: &[
        (number(libc::SYS_socket), Socket),
        (number(libc::SYS_clone), CloneCall),
        (number(libc::SYS_uselib), Never),
        (number(libc::SYS_personality), Personality),
        (number(libc::SYS_ustat), Never),
        (number(libc::SYS_sysfs), Never),
        (number(libc::SYS_vhangup), Needs(Cap::SYS_TTY_CONFIG)),
        (number(libc::SYS_pivot_root), Never),
        (number(libc::SYS__sysctl), Never),
        (number(libc::SYS_acct), Needs(Cap::SYS_PACCT)),
        (number(libc::SYS_settimeofday), Needs(Cap::SYS_TIME)),
        (number(libc::SYS_mount), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_umount2), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_swapon), Never),
        (number(libc::SYS_swapoff), Never),
        (number(libc::SYS_reboot), Needs(Cap::SYS_BOOT)),
        (number(libc::SYS_sethostname), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_setdomainname), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_iopl), Needs(Cap::SYS_RAWIO)),
        (number(libc::SYS_ioperm), Needs(Cap::SYS_RAWIO)),
        (174, Never), // create_module
        (number(libc::SYS_init_module), Needs(Cap::SYS_MODULE)),
        (number(libc::SYS_delete_module), Needs(Cap::SYS_MODULE)),
        (177, Never), // get_kernel_syms
        (178, Never), // query_module
        (number(libc::SYS_quotactl), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_nfsservctl), Never),
        (number(libc::SYS_getpmsg), Never),
        (number(libc::SYS_putpmsg), Never),
        (number(libc::SYS_afs_syscall), Never),
        (number(libc::SYS_tuxcall), Never),
        (number(libc::SYS_security), Never),
        (number(libc::SYS_lookup_dcookie), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_clock_settime), Needs(Cap::SYS_TIME)),
        (number(libc::SYS_vserver), Never),
        (number(libc::SYS_mbind), Needs(Cap::SYS_NICE)),
        (number(libc::SYS_set_mempolicy), Needs(Cap::SYS_NICE)),
        (number(libc::SYS_get_mempolicy), Needs(Cap::SYS_NICE)),
        (number(libc::SYS_kexec_load), Never),
        (number(libc::SYS_add_key), Never),
        (number(libc::SYS_request_key), Never),
        (number(libc::SYS_keyctl), Never),
        (number(libc::SYS_migrate_pages), Never),
        (number(libc::SYS_unshare), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_move_pages), Never),
        (number(libc::SYS_perf_event_open), Needs(Cap::PERFMON.union(Cap::SYS_ADMIN))),
        (number(libc::SYS_fanotify_init), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_open_by_handle_at), Needs(Cap::DAC_READ_SEARCH)),
        (number(libc::SYS_setns), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_kcmp), Needs(Cap::SYS_PTRACE)),
        (number(libc::SYS_finit_module), Needs(Cap::SYS_MODULE)),
        (number(libc::SYS_kexec_file_load), Never),
        (number(libc::SYS_bpf), Needs(Cap::BPF.union(Cap::SYS_ADMIN))),
        (number(libc::SYS_syslog), Needs(Cap::SYSLOG.union(Cap::SYS_ADMIN))),
        (number(libc::SYS_userfaultfd), Never),
        (number(libc::SYS_io_uring_setup), Never),
        (number(libc::SYS_io_uring_enter), Never),
        (number(libc::SYS_io_uring_register), Never),
        (number(libc::SYS_open_tree), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_move_mount), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_fsopen), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_fsconfig), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_fsmount), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_fspick), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_clone3), Clone3),
        (number(libc::SYS_pidfd_getfd), Needs(Cap::SYS_PTRACE)),
        (number(libc::SYS_process_madvise), Needs(Cap::SYS_PTRACE)),
        (number(libc::SYS_mount_setattr), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_quotactl_fd), Needs(Cap::SYS_ADMIN)),
        (450, Needs(Cap::SYS_NICE)),  // set_mempolicy_home_node
        (459, Needs(Cap::SYS_ADMIN)), // lsm_get_self_attr
        (460, Needs(Cap::SYS_ADMIN)), // lsm_set_self_attr
        (461, Needs(Cap::SYS_ADMIN)), // lsm_list_modules
        (467, Needs(Cap::SYS_ADMIN)), // open_tree_attr
        (468, Never),                 // file_getattr
        (469, Never),                 // file_setattr
    ],
};

#[cfg(target_arch = "aarch64")]
const NATIVE: Table = Table {
    last: 469,
    rules: &[
        (number(libc::SYS_socket), Socket),
        (number(libc::SYS_clone), CloneCall),
        (number(libc::SYS_personality), Personality),
        (number(libc::SYS_vhangup), Needs(Cap::SYS_TTY_CONFIG)),
        (number(libc::SYS_pivot_root), Never),
        (number(libc::SYS_acct), Needs(Cap::SYS_PACCT)),
        (number(libc::SYS_settimeofday), Needs(Cap::SYS_TIME)),
        (number(libc::SYS_mount), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_umount2), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_swapon), Never),
        (number(libc::SYS_swapoff), Never),
        (number(libc::SYS_reboot), Needs(Cap::SYS_BOOT)),
        (number(libc::SYS_sethostname), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_setdomainname), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_init_module), Needs(Cap::SYS_MODULE)),
        (number(libc::SYS_delete_module), Needs(Cap::SYS_MODULE)),
        (number(libc::SYS_quotactl), Needs(Cap::SYS_ADMIN)),
        (42, Never),                 // nfsservctl
        (18, Needs(Cap::SYS_ADMIN)), // lookup_dcookie
        (number(libc::SYS_clock_settime), Needs(Cap::SYS_TIME)),
        (number(libc::SYS_mbind), Needs(Cap::SYS_NICE)),
        (number(libc::SYS_set_mempolicy), Needs(Cap::SYS_NICE)),
        (number(libc::SYS_get_mempolicy), Needs(Cap::SYS_NICE)),
        (number(libc::SYS_kexec_load), Never),
        (number(libc::SYS_add_key), Never),
        (number(libc::SYS_request_key), Never),
        (number(libc::SYS_keyctl), Never),
        (number(libc::SYS_migrate_pages), Never),
        (number(libc::SYS_unshare), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_move_pages), Never),
        (number(libc::SYS_perf_event_open), Needs(Cap::PERFMON.union(Cap::SYS_ADMIN))),
        (number(libc::SYS_fanotify_init), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_open_by_handle_at), Needs(Cap::DAC_READ_SEARCH)),
        (number(libc::SYS_setns), Needs(Cap::SYS_ADMIN)),
        (number(libc::SYS_kcmp), Needs(Cap::SYS_PTRACE)),
        (number(libc::SYS_finit_module), Needs(Cap::SYS_MODULE)),
        (number(libc::SYS_bpf), Needs(Cap::BPF.union(Cap::SYS_ADMIN))),
        (number(libc::SYS_syslog), Needs(Cap::SYSLOG.union(Cap::SYS_ADMIN))),
        (number(libc::SYS_userfaultfd), Never),
        (294, Never),                 // kexec_file_load
        (425, Never),                 // io_uring_setup
        (426, Never),                 // io_uring_enter
        (427, Never),                 // io_uring_register
        (428, Needs(Cap::SYS_ADMIN)), // open_tree
        (429, Needs(Cap::SYS_ADMIN)), // move_mount
        (430, Needs(Cap::SYS_ADMIN)), // fsopen
        (431, Needs(Cap::SYS_ADMIN)), // fsconfig
        (432, Needs(Cap::SYS_ADMIN)), // fsmount
        (433, Needs(Cap::SYS_ADMIN)), // fspick
        (435, Clone3),
        (438, Needs(Cap::SYS_PTRACE)), // pidfd_getfd
        (440, Needs(Cap::SYS_PTRACE)), // process_madvise
        (442, Needs(Cap::SYS_ADMIN)),  // mount_setattr
        (443, Needs(Cap::SYS_ADMIN)),  // quotactl_fd
        (450, Needs(Cap::SYS_NICE)),   // set_mempolicy_home_node
        (459, Needs(Cap::SYS_ADMIN)),  // lsm_get_self_attr
        (460, Needs(Cap::SYS_ADMIN)),  // lsm_set_self_attr
        (461, Needs(Cap::SYS_ADMIN)),  // lsm_list_modules
        (467, Needs(Cap::SYS_ADMIN)),  // open_tree_attr
        (468, Never),                  // file_getattr
        (469, Never),                  // file_setattr
    ],
};

/// 32-bit programs on a 64-bit machine. The numbers are i386's own (`asm/unistd_32.h`).
#[cfg(target_arch = "x86_64")]
const I386: Table = Table {
    last: 469,
    rules: &[
        (17, Never),                                     // break
        (21, Needs(Cap::SYS_ADMIN)),                     // mount
        (22, Needs(Cap::SYS_ADMIN)),                     // umount
        (25, Needs(Cap::SYS_TIME)),                      // stime
        (51, Needs(Cap::SYS_PACCT)),                     // acct
        (52, Needs(Cap::SYS_ADMIN)),                     // umount2
        (62, Never),                                     // ustat
        (74, Needs(Cap::SYS_ADMIN)),                     // sethostname
        (79, Needs(Cap::SYS_TIME)),                      // settimeofday
        (86, Never),                                     // uselib
        (87, Never),                                     // swapon
        (88, Needs(Cap::SYS_BOOT)),                      // reboot
        (101, Needs(Cap::SYS_RAWIO)),                    // ioperm
        (103, Needs(Cap::SYSLOG.union(Cap::SYS_ADMIN))), // syslog
        (110, Needs(Cap::SYS_RAWIO)),                    // iopl
        (111, Needs(Cap::SYS_TTY_CONFIG)),               // vhangup
        (113, Never),                                    // vm86old
        (115, Never),                                    // swapoff
        (120, CloneCall),
        (121, Needs(Cap::SYS_ADMIN)),  // setdomainname
        (127, Never),                  // create_module
        (128, Needs(Cap::SYS_MODULE)), // init_module
        (129, Needs(Cap::SYS_MODULE)), // delete_module
        (130, Never),                  // get_kernel_syms
        (131, Needs(Cap::SYS_ADMIN)),  // quotactl
        (135, Never),                  // sysfs
        (136, Personality),
        (149, Never),                                     // _sysctl
        (166, Never),                                     // vm86
        (167, Never),                                     // query_module
        (169, Never),                                     // nfsservctl
        (188, Never),                                     // getpmsg
        (189, Never),                                     // putpmsg
        (217, Never),                                     // pivot_root
        (253, Needs(Cap::SYS_ADMIN)),                     // lookup_dcookie
        (264, Needs(Cap::SYS_TIME)),                      // clock_settime
        (273, Never),                                     // vserver
        (274, Needs(Cap::SYS_NICE)),                      // mbind
        (275, Needs(Cap::SYS_NICE)),                      // get_mempolicy
        (276, Needs(Cap::SYS_NICE)),                      // set_mempolicy
        (283, Never),                                     // kexec_load
        (286, Never),                                     // add_key
        (287, Never),                                     // request_key
        (288, Never),                                     // keyctl
        (294, Never),                                     // migrate_pages
        (310, Needs(Cap::SYS_ADMIN)),                     // unshare
        (317, Never),                                     // move_pages
        (336, Needs(Cap::PERFMON.union(Cap::SYS_ADMIN))), // perf_event_open
        (338, Needs(Cap::SYS_ADMIN)),                     // fanotify_init
        (342, Needs(Cap::DAC_READ_SEARCH)),               // open_by_handle_at
        (346, Needs(Cap::SYS_ADMIN)),                     // setns
        (349, Needs(Cap::SYS_PTRACE)),                    // kcmp
        (350, Needs(Cap::SYS_MODULE)),                    // finit_module
        (357, Needs(Cap::BPF.union(Cap::SYS_ADMIN))),     // bpf
        (359, Socket),
        (374, Never),                 // userfaultfd
        (404, Needs(Cap::SYS_TIME)),  // clock_settime64
        (425, Never),                 // io_uring_setup
        (426, Never),                 // io_uring_enter
        (427, Never),                 // io_uring_register
        (428, Needs(Cap::SYS_ADMIN)), // open_tree
        (429, Needs(Cap::SYS_ADMIN)), // move_mount
        (430, Needs(Cap::SYS_ADMIN)), // fsopen
        (431, Needs(Cap::SYS_ADMIN)), // fsconfig
        (432, Needs(Cap::SYS_ADMIN)), // fsmount
        (433, Needs(Cap::SYS_ADMIN)), // fspick
        (435, Clone3),
        (438, Needs(Cap::SYS_PTRACE)), // pidfd_getfd
        (440, Needs(Cap::SYS_PTRACE)), // process_madvise
        (442, Needs(Cap::SYS_ADMIN)),  // mount_setattr
        (443, Needs(Cap::SYS_ADMIN)),  // quotactl_fd
        (450, Needs(Cap::SYS_NICE)),   // set_mempolicy_home_node
        (459, Needs(Cap::SYS_ADMIN)),  // lsm_get_self_attr
        (460, Needs(Cap::SYS_ADMIN)),  // lsm_set_self_attr
        (461, Needs(Cap::SYS_ADMIN)),  // lsm_list_modules
        (467, Needs(Cap::SYS_ADMIN)),  // open_tree_attr
        (468, Never),                  // file_getattr
        (469, Never),                  // file_setattr
    ],
};

const fn number(call: libc::c_long) -> u32 {
    call as u32
}

const fn errno(code: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | code as u32
}

/// Classic BPF under construction.
#[derive(Default)]
pub(super) struct Program(pub(super) Vec<Instruction>);

impl Program {
    /// The verdict on every call of one architecture.
    fn table(&mut self, table: &Table, capabilities: CapabilitySet) {
        let admin = capabilities.contains(Cap::SYS_ADMIN);
        self.load(NUMBER_OFFSET);
        // Also the x32 calls of x86_64, whose numbers have bit 30 set.
        self.if_greater_return(table.last, errno(libc::ENOSYS));
        for (call, rule) in table.rules {
            match rule {
                // A call that either of two capabilities allows lists both.
                Needs(either) if capabilities.intersects(*either) => {}
                Clone3 | CloneCall if admin => {}
                Needs(_) | Never => self.if_equal_return(*call, errno(libc::EPERM)),
                Clone3 => self.if_equal_return(*call, errno(libc::ENOSYS)),
                CloneCall => {
                    let mut inner = Self::default();
                    inner.load(FIRST_ARGUMENT_OFFSET);
                    inner.if_any_bit_return(NAMESPACES, errno(libc::EPERM));
                    inner.give(libc::SECCOMP_RET_ALLOW);
                    self.unless_equal_skip(*call, &inner);
                }
                Socket => {
                    let mut inner = Self::default();
                    inner.load(FIRST_ARGUMENT_OFFSET);
                    inner.if_equal_return(libc::AF_ALG.cast_unsigned(), errno(libc::EPERM));
                    inner.if_equal_return(libc::AF_VSOCK.cast_unsigned(), errno(libc::EPERM));
                    inner.give(libc::SECCOMP_RET_ALLOW);
                    self.unless_equal_skip(*call, &inner);
                }
                Personality => {
                    let mut inner = Self::default();
                    inner.load(FIRST_ARGUMENT_OFFSET);
                    for allowed in PERSONALITIES {
                        inner.if_equal_return(allowed, libc::SECCOMP_RET_ALLOW);
                    }
                    inner.give(errno(libc::EPERM));
                    self.unless_equal_skip(*call, &inner);
                }
            }
        }
        self.give(libc::SECCOMP_RET_ALLOW);
    }

    pub(super) fn load(&mut self, offset: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    }

    pub(super) fn give(&mut self, verdict: u32) {
        self.push(libc::BPF_RET | libc::BPF_K, 0, 0, verdict);
    }

    pub(super) fn if_equal_return(&mut self, value: u32, verdict: u32) {
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, value);
        self.give(verdict);
    }

    pub(super) fn unless_equal_return(&mut self, value: u32, verdict: u32) {
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, value);
        self.give(verdict);
    }

    /// If the call is `call` and the low half of its argument has one of `bits`. The call's number is loaded before
    /// and after.
    pub(super) fn if_argument_bits_return(&mut self, call: u32, argument: u32, bits: u32, verdict: u32) {
        let mut inner = Self::default();
        inner.load(FIRST_ARGUMENT_OFFSET + 8 * argument);
        inner.if_any_bit_return(bits, verdict);
        inner.give(libc::SECCOMP_RET_ALLOW);
        self.unless_equal_skip(call, &inner);
    }

    /// If the call is `call` and the low half of its argument has none of `bits`.
    pub(super) fn unless_argument_bits_return(&mut self, call: u32, argument: u32, bits: u32, verdict: u32) {
        let mut inner = Self::default();
        inner.load(FIRST_ARGUMENT_OFFSET + 8 * argument);
        inner.if_any_bit_return(bits, libc::SECCOMP_RET_ALLOW);
        inner.give(verdict);
        self.unless_equal_skip(call, &inner);
    }

    fn if_greater_return(&mut self, value: u32, verdict: u32) {
        self.push(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, value);
        self.give(verdict);
    }

    fn if_any_bit_return(&mut self, bits: u32, verdict: u32) {
        self.push(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, bits);
        self.give(verdict);
    }

    /// Runs `inner`, which ends in a verdict, if the loaded value is `value`. A conditional jump reaches only 255
    /// instructions, so a long way round goes by an unconditional one.
    pub(super) fn unless_equal_skip(&mut self, value: u32, inner: &Self) {
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, value);
        let length = u32::try_from(inner.0.len()).unwrap_or(u32::MAX);
        self.push(libc::BPF_JMP | libc::BPF_JA, 0, 0, length);
        self.0.extend_from_slice(&inner.0);
    }

    fn push(&mut self, code: u32, jump_true: u8, jump_false: u8, k: u32) {
        // The codes are below 256.
        self.0.push(Instruction { code: code as u16, jt: jump_true, jf: jump_false, k });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would.
    fn verdict(program: &[Instruction], arch: u32, call: u32, first: u64) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            match u32::from(code) {
                0x20 => {
                    loaded = match k {
                        0 => call,
                        4 => arch,
                        16 => first as u32,
                        other => panic!("load of {other}"),
                    }
                }
                0x15 => at += jump(loaded == k),
                0x25 => at += jump(loaded > k),
                0x45 => at += jump(loaded & k != 0),
                0x05 => at += k as usize,
                0x06 => return k,
                other => panic!("code {other:#x}"),
            }
        }
    }

    #[test]
    fn the_profile_says_what_dockers_says() {
        let plain = filter(super::super::capabilities::DEFAULT);
        let admin = filter(super::super::capabilities::DEFAULT | Cap::SYS_ADMIN);
        let native = |program: &[Instruction], call: libc::c_long, first| {
            verdict(program, NATIVE_ARCH, u32::try_from(call).unwrap(), first)
        };
        let (allow, refuse, missing) = (libc::SECCOMP_RET_ALLOW, errno(libc::EPERM), errno(libc::ENOSYS));
        for (call, first, without, with) in [
            (libc::SYS_read, 0, allow, allow),
            (libc::SYS_openat2, 0, allow, allow),
            (libc::SYS_mount, 0, refuse, allow),
            (libc::SYS_keyctl, 0, refuse, refuse),
            (libc::SYS_socket, 2, allow, allow),
            (libc::SYS_socket, 38, refuse, refuse),
            (libc::SYS_socket, 40, refuse, refuse),
            (libc::SYS_socket, (1 << 32) | 40, refuse, refuse),
            (libc::SYS_clone, 0x11, allow, allow),
            (libc::SYS_clone, 0x1000_0011, refuse, allow),
            (libc::SYS_clone3, 0, missing, allow),
            (libc::SYS_personality, 8, allow, allow),
            (libc::SYS_personality, 0x40000, refuse, refuse),
            (1000, 0, missing, missing),
        ] {
            assert_eq!(native(&plain, call, first), without, "call {call} with {first}");
            assert_eq!(native(&admin, call, first), with, "call {call} with {first}, as SYS_ADMIN");
        }
        assert_eq!(verdict(&plain, 0x1234, 0, 0), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn other_tables_of_the_same_machine_are_no_way_round() {
        let plain = filter(super::super::capabilities::DEFAULT);
        assert_eq!(verdict(&plain, AUDIT_ARCH_I386, 21, 0), errno(libc::EPERM), "mount of i386");
        assert_eq!(verdict(&plain, AUDIT_ARCH_I386, 4, 0), libc::SECCOMP_RET_ALLOW, "write of i386");
        assert_eq!(verdict(&plain, NATIVE_ARCH, 0x4000_0000 | 165, 0), errno(libc::ENOSYS), "mount of x32");
    }
}

//! Names of signals, for STOPSIGNAL and for reports.

/// The signals of Linux on x86-64 and arm64, by number from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Whether STOPSIGNAL takes it: a name with or without `SIG`, in any case, or a number. As in BuildKit any number but
/// 0 will do, since only the runtime knows the signals of its system.
#[must_use]
pub fn is_known(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if NAMES.contains(&name) || ["IOT", "CLD", "POLL", "RTMIN", "RTMAX"].contains(&name) {
        return true;
    }
    // The C library leaves 34 to 64 as real-time signals; each half is named from its own end.
    let within = |count: &str, most: u32| count.parse::<u32>().is_ok_and(|count| (1..=most).contains(&count));
    name.strip_prefix("RTMIN+").is_some_and(|count| within(count, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|count| within(count, 14))
}

/// `SIGKILL` for 9; `None` for a number without a name.
#[must_use]
pub fn name(number: i32) -> Option<String> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    NAMES.get(at).map(|name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for text in ["9", "SIGKILL", "kill", "SIGRTMIN+3", "RTMAX-1", "SIGSYS", "65", "-1"] {
            assert!(is_known(text), "{text}");
        }
        for text in ["", "0", "SIGNOPE", "SIGRTMIN+99", "1.5"] {
            assert!(!is_known(text), "{text}");
        }
        assert_eq!(name(9).as_deref(), Some("SIGKILL"));
        assert_eq!(name(0), None);
    }
}

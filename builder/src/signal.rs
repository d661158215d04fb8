//! Names of signals, for STOPSIGNAL and for reports.

/// The signals of Linux on x86-64 and arm64, by number from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal that is written as a number or as a name, with or without `SIG`, in any case.
#[must_use]
pub fn parse(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = (1u32..).zip(NAMES).find_map(|(number, known)| (known == name).then_some(number)) {
        return Some(number);
    }
    // glibc keeps the first two real-time signals (32, 33) for itself.
    let (first, last) = (34u32, 64u32);
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "UNUSED" => Some(31),
        "RTMIN" => Some(first),
        "RTMAX" => Some(last),
        _ => {
            let up = name.strip_prefix("RTMIN+").and_then(|n| n.parse::<u32>().ok()).map(|n| first + n);
            let down = name
                .strip_prefix("RTMAX-")
                .and_then(|n| n.parse::<u32>().ok())
                .and_then(|n| last.checked_sub(n));
            up.or(down).filter(|number| (first..=last).contains(number))
        }
    }
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
        for (text, number) in [
            ("9", 9),
            ("SIGKILL", 9),
            ("kill", 9),
            ("SIGTERM", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGSYS", 31),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "SIGNOPE", "SIGRTMIN+99", "-1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(name(9).as_deref(), Some("SIGKILL"));
        assert_eq!(name(0), None);
    }
}

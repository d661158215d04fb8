//! `--chmod`: octal, or symbolic as chmod(1) of the BSDs has it, without a umask.

use std::fmt;
use std::str::FromStr;

/// What `--chmod` does to a mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModeChange {
    /// All bits are given (`0o7777` at most).
    Octal(u32),
    /// Steps that change the mode of the source, in order.
    Symbolic(Vec<Step>),
}

/// One step of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Takes bits away.
    Clear(u32),
    /// Adds bits.
    Set(u32),
    /// Adds bits to directories and to files that anybody could execute before: `X`.
    SetIfExecutable(u32),
    /// Copies the permissions of one class to others: `g=u`.
    Copy {
        /// How far the class is from the right: 6 for the user, 3 for the group, 0 for others.
        from: u32,
        /// To which classes, as their `rwx` bits.
        to: u32,
        /// Whether bits are added.
        set: bool,
        /// Whether bits are taken away: those copied, or with `set` those that were there.
        clear: bool,
    },
}

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a mode: {reason}")]
pub struct InvalidMode {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const STICKY: u32 = 0o1000;
/// What `a` stands for: all but the sticky bit.
const ALL: u32 = 0o6777;

impl ModeChange {
    /// The mode (`0o7777` at most) that a file or directory of mode `mode` gets.
    #[must_use]
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let steps = match self {
            Self::Octal(mode) => return *mode,
            Self::Symbolic(steps) => steps,
        };
        steps.iter().fold(mode, |new, step| match *step {
            Step::Clear(bits) => new & !bits,
            Step::Set(bits) => new | bits,
            Step::SetIfExecutable(bits) if is_dir || mode & 0o111 != 0 => new | bits,
            Step::SetIfExecutable(_) => new,
            Step::Copy { from, to, set, clear } => {
                let spread = |bits: u32| (bits | bits << 3 | bits << 6) & to;
                let value = spread(new >> from & 0o7);
                match (set, clear) {
                    (true, true) => new & !to | value,
                    (true, false) => new | value,
                    (false, _) => new & !value,
                }
            }
        })
    }
}

impl FromStr for ModeChange {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let invalid = |reason| InvalidMode { text: text.chars().take(100).collect(), reason };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if octal && mode <= 0o7777 => Ok(Self::Octal(mode)),
                _ => Err(invalid("an octal mode is between 0 and 07777")),
            };
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause.as_bytes(), &mut steps).map_err(invalid)?;
        }
        Ok(Self::Symbolic(steps))
    }
}

fn parse_clause(clause: &[u8], steps: &mut Vec<Step>) -> Result<(), &'static str> {
    let mut who = 0;
    let mut rest = clause;
    while let Some((class, after)) = rest.split_first() {
        who |= match class {
            b'a' => ALL,
            b'u' => 0o4700,
            b'g' => 0o2070,
            b'o' => 0o0007,
            _ => break,
        };
        rest = after;
    }
    if rest.is_empty() {
        return Err("a part has no `+`, `-` or `=`");
    }
    while let Some((&op, after)) = rest.split_first() {
        if !matches!(op, b'+' | b'-' | b'=') {
            return Err("a class is one of `ugoa`, a permission one of `rwxXstugo`");
        }
        rest = parse_action(op, who, after, steps);
    }
    Ok(())
}

/// Takes the permissions after one operator; gives what is left.
fn parse_action<'a>(op: u8, mut who: u32, permissions: &'a [u8], steps: &mut Vec<Step>) -> &'a [u8] {
    let (mut bits, mut conditional) = (0, 0);
    // Whether `=` has cleared already, or a copied class does it.
    let mut assigned = op != b'=';
    let mut rest = permissions;
    while let Some((permission, after)) = rest.split_first() {
        let special = who == 0 || who & !0o7 != 0;
        match permission {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= 0o111,
            b'X' if op == b'-' => bits |= 0o111,
            b'X' => conditional = 0o111,
            b's' if special => bits |= 0o6000,
            b't' if special => {
                who |= STICKY;
                bits |= STICKY;
            }
            b's' | b't' => {}
            b'u' | b'g' | b'o' => {
                flush(op, who, &mut bits, &mut conditional, steps);
                assigned = true;
                let from = match permission {
                    b'u' => 6,
                    b'g' => 3,
                    _ => 0,
                };
                let to = if who == 0 { 0o777 } else { class_bits(who) };
                steps.push(Step::Copy { from, to, set: op != b'-', clear: op != b'+' });
            }
            _ => break,
        }
        rest = after;
    }
    if bits == 0 && !assigned {
        steps.push(Step::Clear(if who == 0 { ALL } else { who }));
    }
    flush(op, who, &mut bits, &mut conditional, steps);
    rest
}

fn flush(op: u8, who: u32, bits: &mut u32, conditional: &mut u32, steps: &mut Vec<Step>) {
    let mask = if who == 0 { 0o7777 } else { who };
    if *bits != 0 {
        if op == b'=' {
            steps.push(Step::Clear(if who == 0 { ALL } else { who }));
        }
        steps.push(if op == b'-' { Step::Clear(*bits & mask) } else { Step::Set(*bits & mask) });
        *bits = 0;
    }
    if *conditional != 0 {
        steps.push(Step::SetIfExecutable(*conditional & mask));
        *conditional = 0;
    }
}

fn class_bits(who: u32) -> u32 {
    [0o700, 0o070, 0o007].into_iter().filter(|class| who & class != 0).sum()
}

impl fmt::Display for ModeChange {
    /// One text for one meaning, for keys and messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octal(mode) => write!(f, "{mode:04o}"),
            Self::Symbolic(steps) => write!(f, "{steps:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal() {
        for (text, mode) in [("644", 0o644), ("0644", 0o644), ("7777", 0o7777), ("0", 0), ("00755", 0o755)] {
            assert_eq!(text.parse(), Ok(ModeChange::Octal(mode)), "{text}");
        }
        for text in ["64a", "10000", "8", "0o644", "1_0"] {
            assert!(text.parse::<ModeChange>().is_err(), "{text}");
        }
    }

    #[test]
    fn symbolic() {
        for (text, before, is_dir, after) in [
            ("u+x", 0o644, false, 0o744),
            ("go-w", 0o666, false, 0o644),
            ("a=rX", 0o644, false, 0o444),
            ("a=rX", 0o744, false, 0o555),
            ("a=rX", 0o600, true, 0o555),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("=rw,+X", 0o100, false, 0o777),
            ("go=", 0o777, false, 0o700),
            ("go=u-w", 0o750, false, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("u-g", 0o770, false, 0o070),
            ("o+u", 0o700, false, 0o707),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, false, 0o2755),
            ("o+s", 0o755, false, 0o755),
            ("+s", 0o755, false, 0o6755),
            ("+t", 0o755, false, 0o1755),
            ("u=", 0o4755, false, 0o055),
            ("=", 0o7755, false, 0o1000),
            ("u+rwx-x", 0o000, false, 0o600),
            ("u+", 0o644, false, 0o644),
            ("a-X", 0o755, false, 0o644),
        ] {
            let change: ModeChange = text.parse().unwrap();
            assert_eq!(
                format!("{:o}", change.apply(before, is_dir)),
                format!("{after:o}"),
                "{text} on {before:o}"
            );
        }
        for text in ["", "u", "u+q", "q+x", "u+x,", "u+x,,g+x", "x"] {
            assert!(text.parse::<ModeChange>().is_err(), "{text}");
        }
    }
}

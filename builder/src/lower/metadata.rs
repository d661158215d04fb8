//! Instructions that change the configuration and make no layer.

use std::fmt::Write as _;

use layer_store::config::{Empty, Healthcheck as StoredHealthcheck};

use super::stage::StageState;
use super::{Lowering, at};
use crate::dockerfile::ast::{ArgDecl, Command, Healthcheck, HealthcheckCommand, InstructionKind, Word};
use crate::dockerfile::port::parse_port;
use crate::error::Result;

impl Lowering<'_> {
    pub(super) fn arg(&mut self, state: &mut StageState, declarations: &[ArgDecl]) -> Result<()> {
        let mut line = "ARG".to_owned();
        for declaration in declarations {
            let name = &declaration.name;
            let value = match (self.options.build_args.get(name), &declaration.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(state.expand(default, self.escape())?),
                (None, None) => self.globals.value(name).map(str::to_owned),
            };
            self.declared.insert(name.clone());
            let _ = write!(line, " {name}");
            if let Some(value) = &value {
                let _ = write!(line, "={value}");
                state.set(name, value);
            }
            state.args.push((name.clone(), value));
        }
        state.note(line);
        Ok(())
    }

    pub(super) fn metadata(&mut self, state: &mut StageState, kind: &InstructionKind) -> Result<()> {
        match kind {
            InstructionKind::Env(pairs) => self.env(state, pairs),
            InstructionKind::Label(pairs) => self.label(state, pairs),
            InstructionKind::User(word) => {
                let user = state.expand(word, self.escape())?;
                state.note(format!("USER {user}"));
                state.config.config.user = user;
                Ok(())
            }
            InstructionKind::Volume(words) => self.volume(state, words),
            InstructionKind::Expose(words) => self.expose(state, words),
            InstructionKind::StopSignal(word) => {
                let signal = state.expand(word, self.escape())?;
                crate::signal::parse(&signal)
                    .ok_or_else(|| at(word.span, format!("invalid signal `{signal}`")))?;
                state.note(format!("STOPSIGNAL {signal}"));
                state.config.config.stop_signal = Some(signal);
                Ok(())
            }
            InstructionKind::Cmd(command) => {
                let arguments = shell_form(state, command);
                state.note(format!("CMD {}", quoted(&arguments)));
                let config = &mut state.config.config;
                config.cmd = Some(arguments);
                config.args_escaped = true;
                state.cmd_set = true;
                Ok(())
            }
            InstructionKind::Entrypoint(command) => {
                let arguments = shell_form(state, command);
                state.note(format!("ENTRYPOINT {}", quoted(&arguments)));
                state.config.config.entrypoint = Some(arguments);
                // An inherited CMD was meant for another program.
                if !state.cmd_set {
                    state.config.config.cmd = None;
                }
                Ok(())
            }
            InstructionKind::Healthcheck(check) => {
                let stored = healthcheck(state, check);
                state.note(format!("HEALTHCHECK {}", shown(&stored)));
                state.config.config.healthcheck = Some(stored);
                Ok(())
            }
            InstructionKind::Shell(words) => {
                state.note(format!("SHELL [{}]", words.join(" ")));
                state.config.config.shell = Some(words.clone());
                Ok(())
            }
            InstructionKind::OnBuild(trigger) => {
                state.config.config.on_build.push(trigger.text.clone());
                Ok(())
            }
            InstructionKind::Maintainer(text) => {
                state.note(format!("MAINTAINER {text}"));
                state.config.author = Some(text.clone());
                Ok(())
            }
            InstructionKind::Arg(_)
            | InstructionKind::Run(_)
            | InstructionKind::Copy(_)
            | InstructionKind::Add(_)
            | InstructionKind::Workdir(_) => Ok(()),
        }
    }

    /// All pairs of one ENV see the variables from before it.
    fn env(&mut self, state: &mut StageState, pairs: &[(Word, Word)]) -> Result<()> {
        let pairs = self.pairs(state, pairs)?;
        let mut line = "ENV".to_owned();
        for (name, value) in &pairs {
            let _ = write!(line, " {name}={value}");
            state.set(name, value);
            let entry = format!("{name}={value}");
            let env = &mut state.config.config.env;
            match env.iter_mut().find(|old| old.split('=').next() == Some(name.as_str())) {
                Some(old) => *old = entry,
                None => env.push(entry),
            }
        }
        state.note(line);
        Ok(())
    }

    fn label(&mut self, state: &mut StageState, pairs: &[(Word, Word)]) -> Result<()> {
        let pairs = self.pairs(state, pairs)?;
        let mut line = "LABEL".to_owned();
        for (name, value) in pairs {
            let _ = write!(line, " {name}={value}");
            state.config.config.labels.insert(name, value);
        }
        state.note(line);
        Ok(())
    }

    fn pairs(&self, state: &StageState, pairs: &[(Word, Word)]) -> Result<Vec<(String, String)>> {
        let escape = self.escape();
        pairs
            .iter()
            .map(|(name, value)| {
                let expanded = state.expand(name, escape)?;
                if expanded.is_empty() {
                    return Err(at(name.span, format!("the name `{name}` expands to nothing")));
                }
                Ok((expanded, state.expand(value, escape)?))
            })
            .collect()
    }

    fn volume(&mut self, state: &mut StageState, words: &[Word]) -> Result<()> {
        let mut volumes = Vec::new();
        for word in words {
            let path = state.expand(word, self.escape())?;
            if path.is_empty() {
                return Err(at(word.span, "VOLUME specified can not be an empty string"));
            }
            volumes.push(path);
        }
        state.note(format!("VOLUME [{}]", volumes.join(" ")));
        state.config.config.volumes.extend(volumes.into_iter().map(|path| (path, Empty {})));
        Ok(())
    }

    fn expose(&mut self, state: &mut StageState, words: &[Word]) -> Result<()> {
        let mut ports = Vec::new();
        for word in words {
            for text in state.expand_words(word, self.escape())? {
                let parsed = parse_port(&text)
                    .map_err(|error| at(word.span, format!("invalid port `{text}`: {error}")))?;
                ports.extend(parsed.exposed());
            }
        }
        state.note(format!("EXPOSE [{}]", ports.join(" ")));
        state.config.config.exposed_ports.extend(ports.into_iter().map(|port| (port, Empty {})));
        Ok(())
    }
}

/// The arguments of a command in either form.
pub(super) fn shell_form(state: &StageState, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(arguments) => arguments.clone(),
        Command::Shell(text) => shell(state).into_iter().chain([text.clone()]).collect(),
    }
}

/// The shell of the shell form.
pub(super) fn shell(state: &StageState) -> Vec<String> {
    match &state.config.config.shell {
        Some(shell) if !shell.is_empty() => shell.clone(),
        _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
    }
}

fn healthcheck(state: &StageState, check: &Healthcheck) -> StoredHealthcheck {
    let HealthcheckCommand { interval, timeout, start_period, start_interval, retries, command } = match check
    {
        Healthcheck::None => {
            return StoredHealthcheck { test: vec!["NONE".to_owned()], ..StoredHealthcheck::default() };
        }
        Healthcheck::Check(check) => check,
    };
    let test = match command {
        Command::Exec(arguments) => {
            std::iter::once("CMD".to_owned()).chain(arguments.iter().cloned()).collect()
        }
        Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
    };
    let nanoseconds = |duration: &Option<std::time::Duration>| {
        duration.map_or(0, |duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    };
    let _ = state;
    StoredHealthcheck {
        test,
        interval: nanoseconds(interval),
        timeout: nanoseconds(timeout),
        start_period: nanoseconds(start_period),
        start_interval: nanoseconds(start_interval),
        retries: i64::from(retries.unwrap_or(0)),
    }
}

/// A health check as BuildKit's history shows it.
fn shown(check: &StoredHealthcheck) -> String {
    let seconds = |nanoseconds: i64| format!("\"{}\"", go_duration(nanoseconds));
    let retries = char::from_u32(u32::try_from(check.retries).unwrap_or(0)).unwrap_or('\0');
    let retries = match retries {
        '\u{7}' => "'\\a'".to_owned(),
        '\u{8}' => "'\\b'".to_owned(),
        '\t' => "'\\t'".to_owned(),
        '\n' => "'\\n'".to_owned(),
        '\u{b}' => "'\\v'".to_owned(),
        '\u{c}' => "'\\f'".to_owned(),
        '\r' => "'\\r'".to_owned(),
        '\0'..='\u{1f}' | '\u{7f}' => format!("'\\x{:02x}'", retries as u32),
        '\'' | '\\' => format!("'\\{retries}'"),
        other => format!("'{other}'"),
    };
    format!(
        "&{{{} {} {} {} {} {retries}}}",
        quoted(&check.test),
        seconds(check.interval),
        seconds(check.timeout),
        seconds(check.start_period),
        seconds(check.start_interval),
    )
}

/// A duration as Go writes it: `1m30s`, `500ms`, `0s`.
fn go_duration(nanoseconds: i64) -> String {
    let trim = |value: f64, unit: &str| format!("{value}{unit}");
    match nanoseconds {
        0 => "0s".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "below a second there are at most nine digits")]
        1..1_000_000_000 => match nanoseconds {
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => trim(nanoseconds as f64 / 1e3, "\u{b5}s"),
            _ => trim(nanoseconds as f64 / 1e6, "ms"),
        },
        _ => {
            let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let fraction = format!("{rest:09}");
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let mut text = String::new();
            if hours > 0 {
                let _ = write!(text, "{hours}h");
            }
            if hours > 0 || minutes > 0 {
                let _ = write!(text, "{minutes}m");
            }
            let _ = write!(text, "{seconds}{point}{fraction}s");
            text
        }
    }
}

/// A list as Go's `%q` writes it, which is how BuildKit's history shows CMD and ENTRYPOINT.
fn quoted(words: &[String]) -> String {
    let mut text = "[".to_owned();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        text.push('"');
        for c in word.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '\u{7}' => text.push_str("\\a"),
                '\u{8}' => text.push_str("\\b"),
                '\u{b}' => text.push_str("\\v"),
                '\u{c}' => text.push_str("\\f"),
                c if c.is_control() => {
                    let _ = write!(text, "\\x{:02x}", c as u32);
                }
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let words = ["/bin/sh", "-c", "echo \"a\\b\"\n"].map(str::to_owned);
        assert_eq!(quoted(&words), r#"["/bin/sh" "-c" "echo \"a\\b\"\n"]"#);
        assert_eq!(quoted(&[]), "[]");
    }
}

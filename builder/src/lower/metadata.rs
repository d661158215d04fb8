//! Instructions that change the configuration and make no layer.

use std::fmt::Write as _;

use layer_store::config::{Empty, Healthcheck as StoredHealthcheck};

use super::stage::StageState;
use super::{Lowering, at, go_text, windows};
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
                state.env.set(name, value);
            }
            state.args.insert(name.clone());
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
                if !crate::signal::is_known(&signal) {
                    return Err(at(word.span, format!("invalid signal `{signal}`")));
                }
                state.note(format!("STOPSIGNAL {signal}"));
                state.config.config.stop_signal = Some(signal);
                Ok(())
            }
            InstructionKind::Cmd(command) => {
                let arguments = shell_form(state, command);
                state.note(format!("CMD {}", go_text::quoted(&arguments)));
                let config = &mut state.config.config;
                config.cmd = Some(arguments);
                config.args_escaped = true;
                state.cmd_set = true;
                Ok(())
            }
            InstructionKind::Entrypoint(command) => {
                let arguments = shell_form(state, command);
                state.note(format!("ENTRYPOINT {}", go_text::quoted(&arguments)));
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
            state.set_in_image(name, value);
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
        _ if state.is_for_windows() => windows::SHELL.map(str::to_owned).to_vec(),
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
    format!(
        "{{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        go_text::duration(check.interval),
        go_text::duration(check.timeout),
        go_text::duration(check.start_period),
        go_text::duration(check.start_interval),
        check.retries
    )
}

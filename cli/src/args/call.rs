//! `--call`, as `docker buildx build` has it, and `rbuild check --format`.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::build::BuildArgs;

/// `--call METHOD[,format=FORMAT][,ignorestatus]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Call {
    /// What is done with the Dockerfile.
    pub(crate) method: Method,
    /// How the answer is written.
    pub(crate) format: Format,
    /// Whether findings leave the exit status alone.
    pub(crate) ignore_status: bool,
}

/// What is done with the Dockerfile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Method {
    /// It is built.
    #[default]
    Build,
    /// It is checked.
    Check,
    /// What its target can be given is listed.
    Outline,
    /// Its stages are listed.
    Targets,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// BuildKit's fields and a few more
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines
    Sarif,
}

/// `rbuild check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    /// How findings are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut method, mut format, mut ignore_status) = (None, Format::Text, false);
        for field in text.split(',') {
            match field.split_once('=').unwrap_or((field, "")) {
                ("format", name) => format = Format::from_str(name, true)?,
                ("ignorestatus", "" | "1" | "t" | "T" | "true" | "TRUE" | "True") => ignore_status = true,
                ("ignorestatus", "0" | "f" | "F" | "false" | "FALSE" | "False") => ignore_status = false,
                (name, "") if method.is_none() => {
                    method = Some(match name {
                        "build" => Method::Build,
                        "check" | "lint" => Method::Check,
                        "outline" => Method::Outline,
                        "targets" => Method::Targets,
                        _ => return Err(METHODS.to_owned()),
                    });
                }
                _ => return Err(format!("`{field}` is not known; {METHODS}")),
            }
        }
        let method = method.ok_or(METHODS)?;
        if format == Format::Sarif && method != Method::Check {
            return Err("SARIF holds findings, which only `check` has".to_owned());
        }
        Ok(Self { method, format, ignore_status })
    }
}

const METHODS: &str = "methods are build, check, outline and targets, with `,format=json`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_those_of_buildx() {
        let call =
            |text: &str| text.parse::<Call>().map(|call| (call.method, call.format, call.ignore_status));
        assert_eq!(call("check"), Ok((Method::Check, Format::Text, false)));
        assert_eq!(call("lint,format=json"), Ok((Method::Check, Format::Json, false)));
        assert_eq!(call("check,format=sarif,ignorestatus=true"), Ok((Method::Check, Format::Sarif, true)));
        assert_eq!(call("format=json,targets"), Ok((Method::Targets, Format::Json, false)));
        for wrong in ["", "nothing", "check,check", "check,format=xml", "outline,format=sarif", "check,x=1"] {
            assert!(call(wrong).is_err(), "{wrong}");
        }
    }
}

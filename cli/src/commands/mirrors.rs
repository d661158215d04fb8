//! `rbuild mirrors test`

use std::sync::Arc;
use std::time::Duration;

use registry_client::{Client, EndpointReport, Reference, Silent};
use serde::Serialize;

use super::{Context, print};
use crate::args::registry::{MirrorsCommand, MirrorsTestArgs};
use crate::failure::{Failure, Result};
use crate::{settings, size, table};

/// Runs a command of the group.
pub(super) async fn run(context: &Context, command: &MirrorsCommand) -> Result<()> {
    match command {
        MirrorsCommand::Test(args) => test(context, args).await,
    }
}

/// Says for each endpoint of an image what it is good for. Fails when none gives the image.
async fn test(context: &Context, args: &MirrorsTestArgs) -> Result<()> {
    let reference = Reference::parse(&args.image).map_err(|error| Failure::usage(error.to_string()))?;
    let platform = settings::platform(args.platform.as_deref())?;
    let settings = settings::client_settings(&context.global, &context.environment)?;
    let client = Client::new(settings, Arc::new(Silent))?;
    let reports = tokio::select! {
        biased;
        () = context.stop.cancelled() => return Err(Failure::new("the test was stopped")),
        reports = client.probe(&reference, &platform) => reports?,
    };
    let rows: Vec<Row> = reports.iter().map(Row::of).collect();
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&rows).map_err(|error| Failure::of(&error))?))?;
    } else {
        print(&text(&rows))?;
    }
    if rows.iter().any(|row| row.serves) {
        return Ok(());
    }
    Err(Failure::new(format!("no endpoint gives `{}`", reference.familiar())))
}

/// One endpoint, as it is shown. The fields are those of `--json`.
#[derive(Serialize)]
struct Row {
    host: String,
    repository: String,
    /// `mirror` or `upstream`.
    role: &'static str,
    /// Of `resolve`, `pull`, `push`.
    may: Vec<&'static str>,
    /// Whether it gave all that it was asked for.
    serves: bool,
    /// The time until the first answer, in milliseconds.
    answer_ms: Option<u64>,
    /// What it has under the tag.
    digest: Option<String>,
    /// Bytes a second.
    speed: Option<u64>,
    /// What failed first.
    error: Option<String>,
    /// What may be done about it.
    hint: Option<String>,
}

impl Row {
    fn of(report: &EndpointReport) -> Self {
        let may = [(report.resolves, "resolve"), (report.pulls, "pull"), (report.pushes, "push")];
        let answer = report.reached.as_ref().ok().map(Duration::as_millis);
        Self {
            host: report.host.clone(),
            repository: report.repository.clone(),
            role: if report.is_mirror { "mirror" } else { "upstream" },
            may: may.into_iter().filter(|(may, _)| *may).map(|(_, name)| name).collect(),
            serves: report.serves(),
            answer_ms: answer.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
            digest: report.image.as_ref().and_then(|image| image.as_ref().ok()).map(ToString::to_string),
            speed: report.speed.as_ref().and_then(|speed| speed.as_ref().ok()).copied(),
            error: report.failure().map(|error| layer_store::error::chain(error)),
            hint: report.failure().and_then(registry_client::Error::hint),
        }
    }
}

fn text(rows: &[Row]) -> String {
    let cell = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let cells: Vec<[String; 7]> = rows
        .iter()
        .map(|row| {
            let status = if row.serves { "ok" } else { "failed" };
            [
                row.host.clone(),
                row.role.to_owned(),
                row.may.join(","),
                status.to_owned(),
                cell(row.answer_ms.map(|millis| format!("{millis}ms"))),
                cell(row.digest.as_ref().map(|digest| digest.chars().take(19).collect())),
                cell(row.speed.map(|speed| format!("{}/s", size::bytes(speed)))),
            ]
        })
        .collect();
    let header = ["ENDPOINT", "ROLE", "MAY", "STATUS", "ANSWER", "DIGEST", "SPEED"];
    let mut text = table::columns(header, &cells);
    for row in rows {
        let Some(error) = &row.error else { continue };
        text.push_str(&format!("\n{}: {error}\n", row.host));
        if let Some(hint) = &row.hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
    }
    let digests: std::collections::BTreeSet<&String> =
        rows.iter().filter_map(|row| row.digest.as_ref()).collect();
    if digests.len() > 1 {
        text.push_str("\nthe endpoints have different images under this tag: a mirror may be behind\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_what_failed() {
        let row = |host: &str| Row {
            host: host.to_owned(),
            repository: "library/busybox".to_owned(),
            role: "mirror",
            may: vec!["resolve", "pull"],
            serves: true,
            answer_ms: Some(12),
            digest: Some(format!("sha256:{}", "a".repeat(64))),
            speed: Some(2_500_000),
            error: None,
            hint: None,
        };
        let dead = Row {
            serves: false,
            answer_ms: None,
            digest: None,
            speed: None,
            error: Some("`dead.example` cannot be reached".to_owned()),
            hint: Some("check the name".to_owned()),
            ..row("dead.example")
        };
        let behind = Row { digest: Some(format!("sha256:{}", "b".repeat(64))), ..row("behind.example") };
        insta::assert_snapshot!(text(&[row("m.example"), dead, behind]), @r"
        ENDPOINT         ROLE      MAY            STATUS    ANSWER    DIGEST                SPEED
        m.example        mirror    resolve,pull   ok        12ms      sha256:aaaaaaaaaaaa   2.5MB/s
        dead.example     mirror    resolve,pull   failed    -         -                     -
        behind.example   mirror    resolve,pull   ok        12ms      sha256:bbbbbbbbbbbb   2.5MB/s

        dead.example: `dead.example` cannot be reached
          hint: check the name

        the endpoints have different images under this tag: a mirror may be behind
        ");
    }
}

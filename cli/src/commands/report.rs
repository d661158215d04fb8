//! `rbuild report`: one page with the timeline of a build, without anything from elsewhere.

use std::fmt::Write as _;

use builder::Outcome;
use layer_store::Digest;

use super::{Context, tell};
use crate::args::builds::ReportArgs;
use crate::builds::{self, Build};
use crate::catalog;
use crate::failure::{Failure, Result};
use crate::progress::{Ending, Journal, StepRecord};
use crate::size;

const STYLE: &str = include_str!("report.css");

/// Writes the page.
pub(super) fn run(context: &Context, args: &ReportArgs) -> Result<()> {
    let build = builds::find(&context.store_root()?, args.build.as_deref())?;
    let Build { id, journal, .. } = build;
    let journal = journal.ok_or_else(|| {
        Failure::new(format!("the build `{id}` is still running, or was killed"))
            .hint("`rbuild logs` shows what it wrote")
    })?;
    // Reading the lists of files is left for whoever looks at the page.
    let store = context.store()?;
    let size = |layer: &Digest| catalog::layer_size(&store, layer);
    std::fs::write(&args.output, page(&id, &journal, &size))
        .map_err(|error| Failure::new(format!("cannot write `{}`: {error}", args.output.display())))?;
    tell(&format!("wrote {}", args.output.display()));
    Ok(())
}

fn page(id: &str, journal: &Journal, size: &dyn Fn(&Digest) -> Option<u64>) -> String {
    let mut html = String::new();
    let title = if journal.names.is_empty() { id.to_owned() } else { journal.names.join(", ") };
    let title = escaped(&title);
    let _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    );
    summary(&mut html, id, journal);
    timeline(&mut html, journal);
    layers(&mut html, journal, size);
    transfers(&mut html, journal);
    html.push_str("</body></html>\n");
    html
}

fn summary(html: &mut String, id: &str, journal: &Journal) {
    let result = match journal.result {
        Ending::Done => "done",
        Ending::Failed => "failed",
        Ending::Stopped => "stopped",
    };
    let _ = writeln!(
        html,
        "<p class=\"summary {result}\"><b id=\"result\">{result}</b> in <b id=\"elapsed\">{}</b>: \
         <span id=\"ran\">{}</span> ran, <span id=\"cached\">{}</span> cached, \
         <span id=\"waited\">{}</span> waited</p>\n\
         <p class=\"small\">build {} began {}{}</p>",
        time(journal.elapsed_ms),
        journal.count(&Outcome::Done),
        journal.count(&Outcome::Cached),
        time(journal.waited_ms()),
        escaped(id),
        escaped(&journal.started),
        journal.image.as_ref().map(|image| format!(", image {}", escaped(image))).unwrap_or_default(),
    );
    if let Some(error) = &journal.error {
        let _ = writeln!(html, "<pre class=\"error\">{}</pre>", escaped(error));
    }
}

/// A bar for each step, on one scale, behind a paler one for the time that it waited. What was cached took no time, and
/// stands as a mark.
fn timeline(html: &mut String, journal: &Journal) {
    html.push_str("<h2>Steps</h2>\n<table id=\"steps\">\n");
    let end = |step: &StepRecord| step.started_ms + step.elapsed_ms;
    let whole = journal.steps.iter().map(end).max().unwrap_or(0).max(journal.elapsed_ms).max(1);
    let share = |part: u64| 100 * part.min(whole) / whole;
    html.push_str("<tr><th></th><th></th><th></th><th>took</th><th>waited</th><th></th></tr>\n");
    let waited = |step: &StepRecord| {
        let from = step.started_ms.saturating_sub(step.waited_ms);
        let (left, width) = (share(from), share(step.started_ms) - share(from));
        if step.waited_ms == 0 {
            return String::new();
        }
        format!("<i class=\"wait\" style=\"left:{left}%;width:{width}%\"></i>")
    };
    for step in &journal.steps {
        let outcome = match step.outcome {
            Outcome::Done => "done",
            Outcome::Cached => "cached",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "stopped",
        };
        let _ = writeln!(
            html,
            "<tr class=\"{outcome}\"><td>{}</td><td class=\"name\">{}</td><td>{outcome}</td><td>{}</td><td>{}</td>\
             <td class=\"lane\">{}<i style=\"left:{}%;width:{}%\"></i></td></tr>",
            step.number,
            escaped(&step.name),
            time(step.elapsed_ms),
            if step.waited_ms == 0 { String::new() } else { time(step.waited_ms) },
            waited(step),
            share(step.started_ms),
            share(step.elapsed_ms),
        );
    }
    html.push_str("</table>\n");
}

fn layers(html: &mut String, journal: &Journal, size: &dyn Fn(&Digest) -> Option<u64>) {
    if journal.layers.is_empty() {
        return;
    }
    html.push_str("<h2>Layers</h2>\n<table id=\"layers\">\n");
    let sizes: Vec<Option<u64>> = journal.layers.iter().map(|layer| size(&layer.diff_id)).collect();
    let largest = sizes.iter().flatten().copied().max().unwrap_or(0).max(1);
    for (layer, bytes) in journal.layers.iter().zip(sizes) {
        let size = bytes.map_or_else(|| "not here".to_owned(), size::bytes);
        let _ = writeln!(
            html,
            "<tr><td title=\"{}\">{}</td><td class=\"name\">{}</td><td>{size}</td>\
             <td class=\"lane\"><i style=\"left:0;width:{}%\"></i></td></tr>",
            layer.diff_id,
            layer.diff_id.short(),
            escaped(&layer.created_by),
            100 * bytes.unwrap_or(0) / largest,
        );
    }
    html.push_str("</table>\n");
}

fn transfers(html: &mut String, journal: &Journal) {
    if journal.transfers.is_empty() {
        return;
    }
    html.push_str("<h2>Transfers</h2>\n<table id=\"transfers\">\n");
    for one in &journal.transfers {
        let way = if one.upload { "to" } else { "from" };
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{way} {}</td><td>{}</td></tr>",
            escaped(one.digest.get(7..19).unwrap_or_default()),
            escaped(&one.what),
            size::bytes(one.bytes),
        );
    }
    html.push_str("</table>\n");
}

fn time(millis: u64) -> String {
    size::short_duration(std::time::Duration::from_millis(millis))
}

/// Text that means nothing to a browser: names come from Dockerfiles, errors from commands.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            character => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::LayerRecord;

    #[test]
    fn a_page_shows_what_ran_and_runs_nothing() {
        let step = |number, name: &str, started_ms, elapsed_ms, outcome| StepRecord {
            number,
            name: name.to_owned(),
            started_ms,
            elapsed_ms,
            waited_ms: started_ms / 2,
            outcome,
        };
        let journal = Journal {
            started: "2026-01-02T03:04:05Z".to_owned(),
            elapsed_ms: 1000,
            result: Ending::Failed,
            error: Some("the command of `RUN <x>` exited with status 1".to_owned()),
            names: vec!["app:1.0".to_owned()],
            image: None,
            steps: vec![
                step(1, "[1/2] FROM busybox", 0, 0, Outcome::Cached),
                step(2, "[2/2] RUN <script>alert(1)</script>", 100, 500, Outcome::Failed),
            ],
            layers: vec![LayerRecord { diff_id: Digest::of(b""), created_by: "RUN \"x\"".to_owned() }],
            transfers: Vec::new(),
        };
        let page = page("20260102T030405Z-1", &journal, &|_| Some(2_000_000));
        assert!(!page.contains("<script"), "{page}");
        for expected in [
            "<b id=\"result\">failed</b> in <b id=\"elapsed\">1.0s</b>",
            "RUN &lt;script&gt;alert(1)&lt;/script&gt;",
            "<i class=\"wait\" style=\"left:5%;width:5%\"></i><i style=\"left:10%;width:50%\">",
            "<span id=\"waited\">50ms</span>",
            "<td>2MB</td>",
        ] {
            assert!(page.contains(expected), "{expected}:\n{page}");
        }
    }
}

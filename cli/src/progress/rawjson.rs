//! `--progress rawjson`: a JSON object a line, with the fields of BuildKit's solve status where they fit.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use builder::event::{Event, Outcome, Reporter, StepId, Stream};
use jiff::{SignedDuration, Timestamp};
use layer_store::Digest;
use serde_json::{Value, json};

use super::Renderer;

/// Writes JSON lines.
pub(crate) struct RawJson<W>(Mutex<State<W>>);

struct State<W> {
    output: W,
    started: HashMap<StepId, (String, Timestamp)>,
    transfers: HashMap<Digest, Timestamp>,
}

impl<W: Write + Send> RawJson<W> {
    /// A renderer that writes to `output`.
    pub(crate) fn new(output: W) -> Self {
        Self(Mutex::new(State { output, started: HashMap::new(), transfers: HashMap::new() }))
    }
}

impl<W: Write + Send> Reporter for RawJson<W> {
    fn event(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = state.line(event, Timestamp::now()) {
            // Nobody reads a pipe that is closed; the build goes on.
            let _ = writeln!(state.output, "{line}");
        }
    }
}

impl<W: Write + Send> Renderer for RawJson<W> {}

impl<W> State<W> {
    fn line(&mut self, event: Event, now: Timestamp) -> Option<Value> {
        Some(match event {
            Event::StepStarted { step, name } => {
                let vertex = json!({"digest": vertex(step), "name": name, "started": now});
                self.started.insert(step, (name, now));
                json!({"vertexes": [vertex]})
            }
            // BuildKit has no word for it; a status is its form for what belongs to a step and takes time.
            Event::StepWaited { step, waited } => {
                let ready = now.saturating_sub(SignedDuration::try_from(waited).ok()?).unwrap_or(now);
                let status = json!({
                    "id": "waiting", "vertex": vertex(step), "name": "waiting for its turn", "current": 0,
                    "timestamp": now, "started": ready, "completed": now,
                });
                json!({"statuses": [status]})
            }
            Event::StepOutput { step, stream, bytes } => {
                let number = match stream {
                    Stream::Stdout => 1,
                    Stream::Stderr => 2,
                };
                let log = json!({"vertex": vertex(step), "stream": number, "data": base64(&bytes), "timestamp": now});
                json!({"logs": [log]})
            }
            Event::StepFinished { step, outcome, .. } => {
                let (name, started) = self.started.remove(&step)?;
                let mut vertex =
                    json!({"digest": vertex(step), "name": name, "started": started, "completed": now});
                match outcome {
                    Outcome::Done => {}
                    Outcome::Cached => vertex["cached"] = json!(true),
                    Outcome::Failed => vertex["error"] = json!("failed"),
                    Outcome::Cancelled => vertex["error"] = json!("canceled"),
                }
                json!({"vertexes": [vertex]})
            }
            Event::Transfer { digest, what, upload, done, total } => {
                let started = *self.transfers.entry(digest).or_insert(now);
                let verb = if upload { "pushing" } else { "pulling" };
                let mut status = json!({
                    "id": digest, "name": format!("{verb} {what}"), "current": done, "total": total,
                    "timestamp": now, "started": started,
                });
                if done >= total {
                    status["completed"] = json!(now);
                }
                json!({"statuses": [status]})
            }
            Event::Warning { message } => {
                json!({"warnings": [{"level": 1, "short": base64(message.as_bytes())}]})
            }
            _ => return None,
        })
    }
}

/// BuildKit names a step by a digest.
fn vertex(step: StepId) -> Digest {
    Digest::of(format!("step {}", step.0).as_bytes())
}

/// Bytes as Go writes them in JSON.
fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fields_are_buildkits() {
        let json = RawJson::new(Vec::new());
        json.event(Event::StepStarted { step: StepId(1), name: "[1/1] RUN true".into() });
        json.event(Event::StepWaited { step: StepId(1), waited: Duration::from_millis(1500) });
        json.event(Event::StepOutput { step: StepId(1), stream: Stream::Stderr, bytes: b"hi\n".into() });
        json.event(Event::StepFinished {
            step: StepId(1),
            outcome: Outcome::Cached,
            elapsed: Duration::from_secs(1),
        });
        let text = String::from_utf8(json.0.into_inner().unwrap().output).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["vertexes"][0]["name"], "[1/1] RUN true");
        let wait = &lines[1]["statuses"][0];
        assert_eq!((&wait["id"], &wait["vertex"]), (&json!("waiting"), &lines[0]["vertexes"][0]["digest"]));
        let time = |name: &str| wait[name].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(time("completed").duration_since(time("started")).as_millis(), 1500);
        assert_eq!(lines[2]["logs"][0]["data"], "aGkK");
        assert_eq!(lines[2]["logs"][0]["stream"], 2);
        assert_eq!(lines[3]["vertexes"][0]["cached"], true);
        assert_eq!(lines[3]["vertexes"][0]["digest"], lines[2]["logs"][0]["vertex"]);
    }
}

//! `rbuild doctor`

use builder::sandbox::{
    Diagnosis, Failure as Refusal, Isolation, Report, Rung, SandboxSettings, Verdict, doctor,
};
use layer_store::Store;
use layer_store::store::Durability;
use serde_json::{Value, json};

use super::{Context, print};
use crate::args::image::DoctorArgs;
use crate::failure::{Failure, Result};

/// Tries every isolation and prints what a build gets here, and why not more.
pub(super) async fn run(context: &Context, args: &DoctorArgs) -> Result<()> {
    // The store's filesystem decides whether overlay works, so it has to be there.
    let store = context.store()?;
    let diagnosis = diagnose(&store).await;
    let root = store.root().display().to_string();
    if args.format == "text" {
        return print(&describe(&diagnosis, &root));
    }
    let text =
        serde_json::to_string_pretty(&as_json(&diagnosis, &root)).map_err(|error| Failure::of(&error))?;
    print(&format!("{text}\n"))
}

/// What a build that keeps its results in `store` gets here.
pub(super) async fn diagnose(store: &Store) -> Diagnosis {
    let (store_root, isolation) = (store.root().to_owned(), Isolation::Auto);
    doctor(SandboxSettings { store_root, isolation, durability: Durability::Full }).await
}

/// What `--format json` prints. `docs/isolation.md` lists the fields; they stay what they are.
fn as_json(diagnosis: &Diagnosis, root: &str) -> Value {
    let rungs = diagnosis.rungs.iter().map(|(rung, verdict)| match verdict {
        Verdict::Works(report) => json!({
            "rung": rung.name(),
            "works": true,
            "idMap": report.id_map,
            "ids": report.ids,
            "filesystem": report.filesystem,
            "degradations": report.degradations.iter().map(|less| json!({
                "feature": less.feature,
                "instead": less.instead,
                "cost": less.cost,
                "because": refusal(&less.failure),
            })).collect::<Vec<_>>(),
        }),
        Verdict::Refused(failure) => {
            json!({"rung": rung.name(), "works": false, "because": refusal(failure)})
        }
    });
    json!({"store": root, "isolation": diagnosis.chosen.map(Rung::name), "rungs": rungs.collect::<Vec<_>>()})
}

fn refusal(failure: &Refusal) -> Value {
    json!({
        "call": failure.call,
        "path": failure.path,
        "errno": failure.errno,
        "error": failure.errno_name(),
        "cause": failure.cause,
        "remedy": failure.remedy,
    })
}

fn describe(diagnosis: &Diagnosis, root: &str) -> String {
    let mut text = format!("store      {root}\n");
    text += &match diagnosis.chosen {
        Some(rung) => format!("isolation  {rung}\n\n"),
        None => "isolation  none: stages without RUN can be built, RUN cannot\n\n".to_owned(),
    };
    for (rung, verdict) in &diagnosis.rungs {
        let mark = if diagnosis.chosen == Some(*rung) { "*" } else { " " };
        match verdict {
            Verdict::Works(report) => text += &works(mark, *rung, report),
            Verdict::Refused(failure) => {
                text += &format!("  {:<8} does not work: {failure}\n", rung.name());
                text += &remedy("           ", failure);
            }
        }
    }
    text
}

fn works(mark: &str, rung: Rung, report: &Report) -> String {
    let plural = if report.ids == 1 { "" } else { "s" };
    let map = match report.id_map.as_str() {
        "none" => String::new(),
        map => format!(" ({map})"),
    };
    let mut text = format!("{mark} {:<8} works, {} id{plural}{map}\n", rung.name(), report.ids);
    for less in &report.degradations {
        text += &format!("           {}: {} instead\n", less.feature, less.instead);
        text += &format!("             costs    {}\n", less.cost);
        text += &format!("             because  {}\n", less.failure);
        text += &remedy("             ", &less.failure);
    }
    text
}

fn remedy(indent: &str, failure: &Refusal) -> String {
    failure.remedy.as_ref().map_or_else(String::new, |remedy| format!("{indent}mend it  {remedy}\n"))
}

#[cfg(test)]
mod tests {
    use builder::sandbox::{Degradation, Filesystem};

    use super::*;

    #[test]
    fn says_what_works_and_why_not_more() {
        let refused = Refusal {
            call: "mount(overlay)".into(),
            path: None,
            errno: Some(1),
            rung: Some(Rung::Root),
            cause: "the process lacks CAP_SYS_ADMIN".into(),
            remedy: Some("run as root".into()),
        };
        let less = Degradation {
            feature: "proc".into(),
            instead: "the builder's /proc".into(),
            cost: "a step sees the processes around it".into(),
            failure: Refusal {
                call: "mount(proc)".into(),
                cause: String::new(),
                remedy: None,
                ..refused.clone()
            },
        };
        let report = Report {
            rung: Rung::Userns,
            id_map: "newuidmap".into(),
            ids: 65536,
            filesystem: Filesystem::Overlay,
            degradations: vec![less],
        };
        let diagnosis = Diagnosis {
            rungs: vec![(Rung::Root, Verdict::Refused(refused)), (Rung::Userns, Verdict::Works(report))],
            chosen: Some(Rung::Userns),
        };
        insta::assert_snapshot!(describe(&diagnosis, "/store"), @r"
        store      /store
        isolation  userns

          root     does not work: mount(overlay): EPERM (the process lacks CAP_SYS_ADMIN)
                   mend it  run as root
        * userns   works, 65536 ids (newuidmap)
                   proc: the builder's /proc instead
                     costs    a step sees the processes around it
                     because  mount(proc): EPERM (Operation not permitted)
        ");
        let json = as_json(&diagnosis, "/store");
        assert_eq!(json["isolation"], "userns");
        assert_eq!(json["rungs"][0]["because"]["error"], "EPERM");
        assert_eq!(json["rungs"][1]["degradations"][0]["because"]["errno"], 1);
    }
}

//! `rbuild doctor`

use builder::sandbox::{Diagnosis, Isolation, SandboxSettings, Verdict, doctor};
use layer_store::store::Durability;

use super::{Context, print};
use crate::failure::Result;

/// Tries every isolation and prints what a build gets here, and why not more.
pub(super) async fn run(context: &Context) -> Result<()> {
    // The store's filesystem decides whether overlay works, so it has to be there.
    let store = context.store()?;
    let diagnosis = doctor(SandboxSettings {
        store_root: store.root().to_owned(),
        isolation: Isolation::Auto,
        durability: Durability::Full,
    })
    .await;
    print(&describe(&diagnosis, &store.root().display().to_string()))
}

fn describe(diagnosis: &Diagnosis, root: &str) -> String {
    let mut text = format!("store      {root}\n");
    text += &match diagnosis.chosen {
        Some(rung) => format!("isolation  {rung}\n\n"),
        None => "isolation  none: stages without RUN can be built, RUN cannot\n\n".to_owned(),
    };
    for (rung, verdict) in &diagnosis.rungs {
        match verdict {
            Verdict::Works(report) => {
                let mark = if diagnosis.chosen == Some(*rung) { "*" } else { " " };
                text += &format!(
                    "{mark} {:<8} works, {} ids mapped ({})\n",
                    rung.name(),
                    report.ids,
                    report.id_map
                );
                for less in &report.degradations {
                    text +=
                        &format!("             {}: {} instead, {}\n", less.feature, less.instead, less.cost);
                    text += &format!("               because {}\n", less.failure);
                    if let Some(remedy) = &less.failure.remedy {
                        text += &format!("               {remedy}\n");
                    }
                }
            }
            Verdict::Refused(failure) => {
                text += &format!("  {:<8} does not work: {failure}\n", rung.name());
                if let Some(remedy) = &failure.remedy {
                    text += &format!("             {remedy}\n");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use builder::sandbox::{Failure, Report, Rung};

    use super::*;

    #[test]
    fn says_what_works_and_why_not_more() {
        let refused = Failure {
            call: "mount(overlay)".into(),
            path: None,
            errno: Some(1),
            rung: Some(Rung::Root),
            cause: "the process lacks CAP_SYS_ADMIN".into(),
            remedy: Some("run as root".into()),
        };
        let report =
            Report { rung: Rung::Userns, id_map: "newuidmap".into(), ids: 65536, degradations: Vec::new() };
        let diagnosis = Diagnosis {
            rungs: vec![(Rung::Root, Verdict::Refused(refused)), (Rung::Userns, Verdict::Works(report))],
            chosen: Some(Rung::Userns),
        };
        insta::assert_snapshot!(describe(&diagnosis, "/store"), @r"
        store      /store
        isolation  userns

          root     does not work: mount(overlay): Operation not permitted (os error 1) (the process lacks CAP_SYS_ADMIN)
                     run as root
        * userns   works, 65536 ids mapped (newuidmap)
        ");
    }
}

//! One Dockerfile as root, as users with and without subordinate ids, and in the containers that a CI job meets: the
//! same image everywhere, or a refusal that explains itself. `docs/isolation.md` has the result as a table, which
//! this test compares, and writes when `RBUILD_WRITE_ISOLATION` is set (`cargo xtask isolation`). All of it once more
//! without a volume, where the store is in a container's own root.

mod place;
mod table;

use std::sync::{Arc, Mutex, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use xtask::container::{self, Environment};
use xtask::{is_root, packages, subject};

use place::{Disk, Found, Place};
use table::Row;

/// Where a build runs.
#[derive(Clone)]
enum Where {
    /// As this user: `None` is root.
    Here(Option<(u32, u32)>),
    /// As root of a user namespace that has one id.
    Unshared,
    Container(Box<Environment>),
}

/// One row of the table.
#[derive(Clone)]
struct Case {
    name: String,
    what: String,
    rung: Option<String>,
    at: Where,
}

/// The image that root builds on this machine.
static REFERENCE: OnceLock<Result<Found, String>> = OnceLock::new();

fn main() {
    let arguments = Arguments::from_args();
    let needed: Vec<&str> = ["runc", "setcap", "newuidmap"]
        .into_iter()
        .filter(|program| packages::find(program).is_none())
        .chain((!is_root()).then_some("root"))
        .chain(
            [subject::PLAIN_USER, subject::BARE_USER].into_iter().filter(|user| subject::ids(user).is_none()),
        )
        .collect();
    if !needed.is_empty() && !arguments.list {
        subject::skip("environments", &needed.join(", "));
        return;
    }
    let writes = std::env::var_os("RBUILD_WRITE_ISOLATION").is_some();
    let rows: Arc<Mutex<Vec<Row>>> = Arc::default();
    let cases = cases();
    let without_volume: Vec<Trial> = cases
        .iter()
        .cloned()
        .map(|case| {
            let name = format!("{}-without-a-volume", case.name);
            Trial::test(name, move || check(&case, Disk::Overlay, false).map(drop))
        })
        .collect();
    let order: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    let mut trials: Vec<Trial> = cases
        .into_iter()
        .map(|case| {
            let rows = Arc::clone(&rows);
            Trial::test(case.name.clone(), move || {
                let row = check(&case, Disk::Volume, writes)?;
                if writes {
                    rows.lock().map_err(|_| "another test failed")?.push(row);
                } else {
                    table::compare(&row)?;
                }
                Ok(())
            })
        })
        .collect();
    trials.extend(without_volume);
    let conclusion = libtest_mimic::run(&arguments, trials);
    if writes && !conclusion.has_failed() {
        let mut rows = rows.lock().unwrap();
        rows.sort_by_key(|row| order.iter().position(|name| *name == row.name));
        table::write(&rows).unwrap();
    }
    conclusion.exit();
}

fn cases() -> Vec<Case> {
    let here = |name: &str, what: &str, rung: &str, user| Case {
        name: name.to_owned(),
        what: what.to_owned(),
        rung: Some(rung.to_owned()),
        at: Where::Here(user),
    };
    let mut cases = vec![
        here("root", "no container, root", "root", None),
        here(
            "user",
            "no container, a user with subordinate ids",
            "userns",
            subject::ids(subject::PLAIN_USER),
        ),
        here("user-without-ids", "no container, a user without", "single", subject::ids(subject::BARE_USER)),
    ];
    cases.push(Case {
        name: "unshared".to_owned(),
        what: "root of a user namespace with one id (`unshare -Ur`)".to_owned(),
        rung: Some("single".to_owned()),
        at: Where::Unshared,
    });
    let environments = container::environments().expect("testdata/isolation/environments.json");
    cases.extend(environments.into_iter().map(|environment| Case {
        name: environment.name.clone(),
        what: environment.what.clone(),
        rung: environment.rung.clone(),
        at: Where::Container(Box::new(environment)),
    }));
    cases
}

/// Builds, and gives the row of the table that shows how it went.
fn check(case: &Case, disk: Disk, timed: bool) -> Result<Row, Failed> {
    let found = Place::new(&case.at, disk)?.build(timed)?;
    let root = REFERENCE.get_or_init(|| {
        let text = |error: Failed| error.message().unwrap_or_default().to_owned();
        Place::new(&Where::Here(None), Disk::Volume).and_then(|place| place.build(false)).map_err(text)
    });
    let root = root.as_ref()?;
    let same = |what: &str, ours: &Option<String>, roots: &Option<String>, log: &str| {
        if ours.is_some() && ours == roots {
            return Ok(());
        }
        Err(Failed::from(format!("{what}: the image is {ours:?}, and as root {roots:?}\n{log}")))
    };
    same("without RUN", &found.plain, &root.plain, &found.plain_log)?;
    if found.rung != case.rung {
        return Err(format!("the rung is {:?}, not {:?}\n{}", found.rung, case.rung, found.doctor).into());
    }
    if case.rung.is_some() {
        same("with RUN", &found.image, &root.image, &found.log)?;
    } else {
        refused(&found)?;
    }
    Ok(Row::new(&case.name, &case.what, &found))
}

/// A RUN is refused before anything is done, and with doctor's words.
fn refused(found: &Found) -> Result<(), Failed> {
    let doctor: serde_json::Value = serde_json::from_str(&found.doctor).map_err(|error| error.to_string())?;
    let cause = doctor["rungs"][1]["because"]["cause"].as_str().ok_or("doctor names no cause")?;
    let remedy = doctor["rungs"][1]["because"]["remedy"].as_str().ok_or("doctor names no remedy")?;
    for words in ["no isolation for RUN is possible here", "Dockerfile:", cause, remedy] {
        if !found.log.contains(words) {
            return Err(format!("the refusal does not say `{words}`:\n{}", found.log).into());
        }
    }
    // ADD, which comes before the first RUN, must not have been carried out.
    if found.log.contains("DONE") || found.image.is_some() {
        return Err(format!("something was done before the refusal:\n{}", found.log).into());
    }
    Ok(())
}

/// Where the project's own test data is.
fn data(name: &str) -> std::path::PathBuf {
    xtask::repository().join("testdata/isolation/same").join(name)
}

/// The program under test.
fn binary() -> std::io::Result<std::path::PathBuf> {
    subject::reachable(&subject::under_test(env!("CARGO_BIN_EXE_rbuild")))
}

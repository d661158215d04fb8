//! Runs one step in the sandbox, over trees that lie somewhere:
//! `step --store DIR [--isolation RUNG] [--lower TREE]... [--user UID:GID] [--net none] [--repeat N] -- COMMAND...`,
//! or says what the sandbox would be: `step --store DIR --doctor`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use builder::sandbox::{
    Isolation, Network, Output, Sandbox, SandboxSettings, Step, doctor, run_helper_if_asked,
};
use layer_store::store::Durability;

fn main() -> ExitCode {
    run_helper_if_asked();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run(std::env::args_os().skip(1).collect())) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#?}");
            ExitCode::from(125)
        }
    }
}

async fn run(arguments: Vec<OsString>) -> Result<i32, Box<dyn std::error::Error>> {
    let mut store = PathBuf::from("/tmp/rbuild-step");
    let mut isolation = Isolation::Auto;
    let mut step = Step {
        env: vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            "HOME=/root".into(),
        ],
        ..Step::default()
    };
    let (mut look, mut repeat) = (false, 1_u32);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.to_str().unwrap_or_default() {
            "--store" => store = value()?.into(),
            "--lower" => step.lowers.push(value()?.into()),
            "--cwd" => step.cwd = value()?.into(),
            "--repeat" => repeat = value()?.to_str().unwrap_or_default().parse()?,
            "--isolation" => {
                isolation = serde_json::from_value(value()?.into_string().unwrap_or_default().into())?;
            }
            "--net" => {
                step.network = serde_json::from_value(value()?.into_string().unwrap_or_default().into())?;
            }
            "--user" => {
                let ids = value()?.into_string().unwrap_or_default();
                let (uid, gid) = ids.split_once(':').ok_or("UID:GID")?;
                (step.user.uid, step.user.gid) = (uid.parse()?, gid.parse()?);
            }
            "--doctor" => look = true,
            "--insecure" => step.insecure = true,
            "--" => break,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    debug_assert!(step.network == Network::Host || step.network == Network::None);
    let settings = SandboxSettings { store_root: store.clone(), isolation, durability: Durability::None };
    if look {
        let found = doctor(settings).await;
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&found)?)?;
        return Ok(0);
    }
    step.argv = arguments.collect();
    let begin = Instant::now();
    let sandbox = Sandbox::start(settings).await?;
    let started = begin.elapsed();
    let mut code = 0;
    for number in 0..repeat {
        let mut step = step.clone();
        step.scratch = store.join(format!("step-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&step.scratch)?;
        let scratch = step.scratch.clone();
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<(Output, bytes::Bytes)>(16);
        let print = tokio::spawn(async move {
            while let Some((which, bytes)) = receiver.recv().await {
                let _ = match which {
                    Output::Stdout => std::io::stdout().write_all(&bytes),
                    Output::Stderr => std::io::stderr().write_all(&bytes),
                };
            }
        });
        let finished = sandbox.run(step, sender).await;
        print.await?;
        code = finished?.status.code();
        if repeat > 1 {
            match sandbox.custodian() {
                Some(custodian) => custodian.remove(&scratch)?,
                None => std::fs::remove_dir_all(&scratch)?,
            }
        }
    }
    let all = begin.elapsed();
    writeln!(
        std::io::stderr(),
        "[{} {}; start {started:?}, {:?} a step]",
        sandbox.report().rung,
        sandbox.report().id_map,
        (all - started) / repeat,
    )?;
    Ok(code)
}

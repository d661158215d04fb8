//! A plan for people.

use std::fmt;

use super::{Cache, Input, Plan, PlannedStage, PlannedStep};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = vec![false; self.steps.len() + 1];
        let several = self.platforms.len() > 1;
        for stage in &self.stages {
            stage_line(f, stage, several)?;
            for number in &stage.steps {
                if !std::mem::replace(&mut shown[*number], true) {
                    step_lines(f, &self.steps[*number - 1])?;
                }
            }
        }
        let count = |cache: Cache| self.steps.iter().filter(|step| step.cache == cache).count();
        writeln!(
            f,
            "{} cached, {} would run, {} not known yet",
            count(Cache::Hit),
            count(Cache::Run),
            count(Cache::Unknown)
        )
    }
}

fn stage_line(f: &mut fmt::Formatter<'_>, stage: &PlannedStage, several: bool) -> fmt::Result {
    let state = if stage.kept { "kept" } else { "dropped" };
    write!(f, "stage {}", stage.name)?;
    if several {
        write!(f, " for {}", stage.platform)?;
    }
    writeln!(f, " is {state}: {}", stage.reason)
}

fn step_lines(f: &mut fmt::Formatter<'_>, step: &PlannedStep) -> fmt::Result {
    let cache = match step.cache {
        Cache::Given => "given",
        Cache::Hit => "cached",
        Cache::Run => "run",
        Cache::Unknown => "unknown",
    };
    write!(f, "  #{:<3} {cache:<8} {}", step.number, step.name)?;
    let inputs: Vec<String> = step.inputs.iter().map(input).collect();
    if !inputs.is_empty() {
        write!(f, "  <- {}", inputs.join(", "))?;
    }
    writeln!(f)?;
    if !step.reason.is_empty() {
        writeln!(f, "       {}", step.reason)?;
    }
    for difference in &step.differences {
        writeln!(f, "       {difference}")?;
    }
    if step.more > 0 {
        writeln!(f, "       and {} more", step.more)?;
    }
    Ok(())
}

fn input(input: &Input) -> String {
    match input {
        Input::Base { step } => format!("#{step}"),
        Input::Step { step, paths } => format!("#{step}: {}", paths.join(" ")),
        Input::Context { name, paths } if name.is_empty() => format!("context: {}", paths.join(" ")),
        Input::Context { name, paths } => format!("context {name}: {}", paths.join(" ")),
        Input::Fetched { address } => address.clone(),
        Input::Inline { names } => format!("text: {}", names.join(" ")),
    }
}

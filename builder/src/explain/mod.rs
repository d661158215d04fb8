//! Why a step was done again: what each step of a build asked for, and what is different from the nearest record.

mod difference;
mod inputs;
mod report;

pub use difference::{Difference, differences, nearest};
pub use inputs::Inputs;
pub(crate) use inputs::SPACE;
pub use report::{BuildReport, Explained, StepReport, Verdict, explain, last};

//! Workflows: several actions as one plan, outputs wired into arguments, each delegated and falling back by itself.
//!
//! - [`plan`]: what a person writes, checked whole before anything is sent.
//! - [`run()`]: delegates the steps, in parallel where they can be, and takes up a flow where it was left.
//! - [`record`]: what is left of a flow: one signed record and one file that anybody can check offline.
//! - [`verify`]: whether the wiring in such a file is the plan's. Whether the outputs are true, replay tells.

pub mod plan;
mod recall;
pub mod record;
pub mod run;
mod step;
mod template;
pub mod verify;

pub use plan::{Flow, Place, Plan, PlanError, Step, Wrong};
pub use recall::recall;
pub use record::{RecordError, bundle};
pub use run::{Ended, Event, Finished, MAX_PARALLEL, Options, run};
pub use step::{Done, Grants, How, StepError};
pub use verify::{StepFlaw, WiringError, whole, wiring};

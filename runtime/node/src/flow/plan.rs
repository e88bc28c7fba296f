//! A plan: what a person writes of a flow, read strictly and checked whole before anything is sent.

mod check;
mod error;

pub use check::MAX_INPUTS;
pub use error::{Place, PlanError, Wrong};

use super::template;
use actum_model::{
    BlobId, Did, FlowId,
    flow::{Feed, MAX_INPUTS_BYTES, MAX_PLAN_BYTES},
};
use check::Checker;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::Path,
};

/// How long a step's result is waited for where the plan does not say, in seconds. Default of `actum call` too.
const DEADLINE_SECONDS: u64 = 120;

/// A plan, as written. Unknown keys are errors.
///
/// ```toml
/// name = "reading"
///
/// [input]
/// text = "The first sentence. The second one."
///
/// [[step]]
/// name = "summary"
/// call = "summarize a text"
/// function = "summarize"
/// args = { text = "{{input.text}}" }
///
/// [[step]]
/// name = "page"
/// call = "markdown"
/// function = "render"
/// args = { markdown = "# Summary\n\n{{steps.summary.output.ok[0].text}}" }
/// risk = "high"
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the flow is called: `a-z`, `0-9`, `-` and `_`. Example: `name = "reading"`
    pub name: String,
    /// What a run may be given, each with its default. Example: `text = "to be or not to be"`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<String, Json>,
    /// The steps, in any order; what one needs of another decides which is run first.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

/// A step: one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is called: `a-z`, `0-9`, `-` and `_`. Example: `name = "summary"`
    pub name: String,
    /// A capability's name, a release or component id, or what it should do in plain words. Example: `call = "markdown"`
    pub call: String,
    /// The function's name, or `namespace:package/interface#name`. Example: `function = "render"`
    pub function: String,
    /// The arguments, as JSON has them, with references. Example: `args = { text = "{{input.text}}" }`
    #[serde(default = "no_args", skip_serializing_if = "is_no_args")]
    pub args: Json,
    /// Steps that must be done first, though their outputs are not used. Example: `after = ["upload"]`
    #[serde(default, alias = "needs", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The risk level, where it is not the one the policy gives. Example: `risk = "high"`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// The provider to use, by its did:key. Example: `provider = "did:key:z6Mk…"`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Did>,
    /// Seconds to wait for the result. Default: 120. Example: `deadline_seconds = 300`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u64>,
    /// Fuel the guest may burn. Example: `fuel = 1000000000`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Linear memory the guest may hold, in MiB. Example: `memory_mib = 64`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// What the guest is granted of the real world, as `actum call --grant` has it. Example: `grant = ["keyvalue:notes"]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grant: Vec<String>,
}

fn no_args() -> Json {
    Json::Array(Vec::new())
}

fn is_no_args(args: &Json) -> bool {
    *args == no_args()
}

impl Step {
    /// How long its result is waited for, in seconds.
    pub fn deadline_seconds(&self) -> u64 {
        self.deadline_seconds.unwrap_or(DEADLINE_SECONDS)
    }
}

/// A plan with its inputs, checked: what a run runs.
#[derive(Clone, Debug)]
pub struct Flow {
    plan: Plan,
    inputs: BTreeMap<String, Json>,
    plan_bytes: Vec<u8>,
    input_bytes: Vec<u8>,
    /// The lines that the steps begin at, where they are known.
    lines: Vec<usize>,
    /// Of each step, by its place, the steps it needs.
    needs: Vec<BTreeSet<usize>>,
    /// Of each step, which outputs go where.
    fed: Vec<Vec<Feed>>,
    /// The steps' places in an order in which each comes after those it needs.
    order: Vec<usize>,
}

/// Reads a plan's file.
pub fn read(path: &Path) -> Result<String, PlanError> {
    let failed = |source| PlanError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_PLAN_BYTES as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

impl Flow {
    /// Reads a plan's text, gives it these inputs in place of its defaults, and checks the whole.
    pub fn parse(text: &str, given: BTreeMap<String, Json>) -> Result<Self, PlanError> {
        if text.len() > MAX_PLAN_BYTES {
            return Err(PlanError::TooLarge { what: "plan", limit: MAX_PLAN_BYTES });
        }
        let plan: Plan = toml::from_str(text).map_err(|e| PlanError::Parse(e.to_string()))?;
        let lines: Vec<usize> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.trim_start().starts_with("[[step]]"))
            .map(|(n, _)| n + 1)
            .collect();
        // Steps written as one inline list have no line of their own.
        let lines = if lines.len() == plan.steps.len() { lines } else { Vec::new() };
        Self::new(plan, given, &lines)
    }

    /// The plan and inputs of a flow's file, which are in their canonical form or refused.
    pub fn from_canonical(plan: &[u8], inputs: &[u8]) -> Result<Self, PlanError> {
        fn json<T: serde::de::DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, PlanError> {
            let not = |e: serde_json::Error| PlanError::NotCanonical { what, why: e.to_string() };
            serde_json::from_slice(bytes).map_err(not)
        }
        let flow = Self::new(json("plan", plan)?, json("inputs", inputs)?, &[])?;
        let other = |what| PlanError::NotCanonical { what, why: "it can be written otherwise".to_owned() };
        if flow.plan_bytes != plan {
            return Err(other("plan"));
        }
        if flow.input_bytes != inputs { Err(other("inputs")) } else { Ok(flow) }
    }

    fn new(mut plan: Plan, given: BTreeMap<String, Json>, lines: &[usize]) -> Result<Self, PlanError> {
        plan.input.values_mut().for_each(sort);
        plan.steps.iter_mut().for_each(|step| sort(&mut step.args));
        let checked = Checker { plan: &plan, lines }.check()?;
        let mut inputs = plan.input.clone();
        for (name, mut value) in given {
            sort(&mut value);
            match inputs.get_mut(&name) {
                Some(place) => *place = value,
                None => {
                    let known = plan.input.keys().cloned().collect();
                    let place = Place { key: format!("input.{name}"), ..Place::default() };
                    return Err(PlanError::Wrong { place, why: Wrong::UnknownInput { name, known } });
                }
            }
        }
        let bytes = |what, json: Result<Vec<u8>, serde_json::Error>, limit| match json {
            Ok(bytes) if bytes.len() > limit => Err(PlanError::TooLarge { what, limit }),
            Ok(bytes) => Ok(bytes),
            Err(e) => Err(PlanError::NotCanonical { what, why: e.to_string() }),
        };
        Ok(Self {
            plan_bytes: bytes("plan", serde_json::to_vec(&plan), MAX_PLAN_BYTES)?,
            input_bytes: bytes("inputs", serde_json::to_vec(&inputs), MAX_INPUTS_BYTES)?,
            inputs,
            lines: lines.to_vec(),
            needs: checked.needs,
            fed: checked.fed,
            order: checked.order,
            plan,
        })
    }

    /// Refuses a level of risk that whoever runs it does not have.
    pub fn check_levels(&self, known: &[&str]) -> Result<(), PlanError> {
        let checker = Checker { plan: &self.plan, lines: &self.lines };
        for (at, step) in self.plan.steps.iter().enumerate() {
            if let Some(name) = step.risk.as_deref().filter(|name| !known.contains(name)) {
                let known = known.iter().map(|name| (*name).to_owned()).collect();
                let why = Wrong::UnknownLevel { name: check::short(name), known };
                return Err(check::wrong(checker.at(at, "risk"), why));
            }
        }
        Ok(())
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The inputs, defaults included.
    pub fn inputs(&self) -> &BTreeMap<String, Json> {
        &self.inputs
    }

    /// The steps, in the order of the plan.
    pub fn steps(&self) -> &[Step] {
        &self.plan.steps
    }

    /// The steps' places in the plan, in an order in which each comes after those it needs.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The names of the steps that the step at this place needs.
    pub fn needs(&self, step: usize) -> impl Iterator<Item = &str> {
        let needs = self.needs.get(step).into_iter().flatten();
        needs.filter_map(|at| self.plan.steps.get(*at)).map(|step| step.name.as_str())
    }

    /// Which steps' outputs go into the arguments of the step at this place, and where.
    pub fn fed(&self, step: usize) -> &[Feed] {
        self.fed.get(step).map(Vec::as_slice).unwrap_or_default()
    }

    /// The plan in its canonical form: JSON on one line, keys sorted, what is the default left out. Comments and layout are
    /// not in it, so that changing them makes no other flow.
    pub fn plan_bytes(&self) -> &[u8] {
        &self.plan_bytes
    }

    /// The inputs in their canonical form: JSON on one line, keys sorted.
    pub fn input_bytes(&self) -> &[u8] {
        &self.input_bytes
    }

    /// The flow's id: the same for the same plan and inputs, whoever runs them.
    pub fn id(&self) -> FlowId {
        FlowId::of_plan(&BlobId::of(&self.plan_bytes), &BlobId::of(&self.input_bytes))
    }

    /// The arguments of a step as JSON, with inputs and outputs put in.
    ///
    /// # Errors
    /// The place, and what is missing there.
    pub fn args(&self, step: &Step, outputs: &BTreeMap<String, Json>) -> Result<Json, String> {
        let values = template::Values { inputs: &self.inputs, outputs };
        template::fill(&step.args, &values).map_err(|fault| format!("{}: {}", fault.place, fault.why))
    }
}

/// Sorts the keys of objects, at every depth, so that one value has one text.
fn sort(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(sort),
        Json::Object(fields) => {
            fields.values_mut().for_each(sort);
            let sorted: BTreeMap<_, _> = std::mem::take(fields).into_iter().collect();
            *fields = Map::from_iter(sorted);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;

//! Checks a plan as a whole: names, bounds, references, and that no steps wait for one another.

use super::{
    super::template::{self, Reference, Source},
    Place, Plan, PlanError, Step, Wrong,
};
use actum_model::{
    flow::{Feed, MAX_FEEDS, MAX_NAME_BYTES, MAX_PLACE_BYTES, MAX_STEPS, is_name},
    run::MAX_INVOCATION_LIFE,
};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// The most inputs of a plan.
pub const MAX_INPUTS: usize = 64;
/// The longest text of a target, function, risk level or grant, in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// The most grants of one step.
const MAX_GRANTS: usize = 32;

/// What a plan that holds comes to, step by step, by their places.
pub(super) struct Checked {
    pub(super) needs: Vec<BTreeSet<usize>>,
    pub(super) fed: Vec<Vec<Feed>>,
    pub(super) order: Vec<usize>,
}

/// A plan while it is looked at.
pub(super) struct Checker<'a> {
    pub(super) plan: &'a Plan,
    pub(super) lines: &'a [usize],
}

impl Checker<'_> {
    pub(super) fn at(&self, step: usize, key: impl Into<String>) -> Place {
        let name = self.plan.steps.get(step).map(|s| s.name.chars().take(MAX_NAME_BYTES).collect());
        Place { line: self.lines.get(step).copied(), step: name, key: key.into() }
    }

    pub(super) fn check(&self) -> Result<Checked, PlanError> {
        let top = |key: &str| Place { key: key.to_owned(), ..Place::default() };
        if !is_name(&self.plan.name) {
            return Err(wrong(top("name"), Wrong::Name(short(&self.plan.name))));
        }
        bound(top("step"), self.plan.steps.len(), 1, MAX_STEPS, "steps")?;
        bound(top("input"), self.plan.input.len(), 0, MAX_INPUTS, "inputs")?;
        for (name, value) in &self.plan.input {
            if !is_name(name) {
                return Err(wrong(top("input"), Wrong::Name(short(name))));
            }
            json(value).map_err(|why| wrong(top(&format!("input.{name}")), Wrong::Value(why)))?;
        }
        let mut places = BTreeMap::new();
        for (at, step) in self.plan.steps.iter().enumerate() {
            if !is_name(&step.name) {
                return Err(wrong(self.at(at, "name"), Wrong::Name(short(&step.name))));
            }
            if places.insert(step.name.as_str(), at).is_some() {
                return Err(wrong(self.at(at, "name"), Wrong::Duplicate));
            }
            self.fields(at, step)?;
        }
        let (mut needs, mut fed, mut used) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (at, step) in self.plan.steps.iter().enumerate() {
            let (needed, feeds) = self.wires(at, step, &places, &mut used)?;
            needs.push(needed);
            fed.push(feeds);
        }
        let order = self.order(&needs)?;
        if let Some(name) = self.plan.input.keys().find(|name| !used.contains(name.as_str())) {
            return Err(wrong(top(&format!("input.{name}")), Wrong::Unused(name.clone())));
        }
        Ok(Checked { needs, fed, order })
    }

    /// What a step says for itself.
    fn fields(&self, at: usize, step: &Step) -> Result<(), PlanError> {
        for (key, text) in [("call", &step.call), ("function", &step.function)] {
            bound(self.at(at, key), text.trim().len(), 1, MAX_TEXT_BYTES, "bytes")?;
        }
        for text in step.risk.iter().chain(&step.grant) {
            bound(self.at(at, "risk or grant"), text.len(), 1, MAX_TEXT_BYTES, "bytes")?;
        }
        bound(self.at(at, "grant"), step.grant.len(), 0, MAX_GRANTS, "grants")?;
        bound(self.at(at, "after"), step.after.len(), 0, MAX_STEPS, "steps")?;
        let most = usize::try_from(MAX_INVOCATION_LIFE).unwrap_or(usize::MAX);
        let seconds = usize::try_from(step.deadline_seconds()).unwrap_or(usize::MAX);
        bound(self.at(at, "deadline_seconds"), seconds, 1, most, "seconds")?;
        for (key, value) in [("fuel", step.fuel), ("memory_mib", step.memory_mib)] {
            if value == Some(0) {
                bound(self.at(at, key), 0, 1, usize::MAX, "units")?;
            }
        }
        json(&step.args).map_err(|why| wrong(self.at(at, "args"), Wrong::Value(why)))
    }

    /// Which steps a step needs, and which outputs go where in its arguments.
    fn wires<'a>(
        &'a self,
        at: usize,
        step: &'a Step,
        places: &BTreeMap<&str, usize>,
        used: &mut BTreeSet<String>,
    ) -> Result<(BTreeSet<usize>, Vec<Feed>), PlanError> {
        let place_of = |name: &str, key: &str| {
            let known = || places.keys().map(|name| (*name).to_owned()).collect();
            let unknown =
                || wrong(self.at(at, key), Wrong::UnknownStep { name: short(name), known: known() });
            places.get(name).copied().ok_or_else(unknown)
        };
        let references = template::references(&step.args)
            .map_err(|fault| wrong(self.at(at, fault.place), Wrong::Reference(fault.why)))?;
        bound(self.at(at, "args"), references.len(), 0, MAX_FEEDS, "references")?;
        let (mut needs, mut feeds) = (BTreeSet::new(), BTreeSet::new());
        for (place, Reference { source, .. }) in references {
            match source {
                Source::Step(name) => {
                    needs.insert(place_of(&name, &place)?);
                    bound(self.at(at, "args"), place.len(), 1, MAX_PLACE_BYTES, "bytes of a place")?;
                    feeds.insert(Feed { into: place, step: name });
                }
                Source::Input(name) if self.plan.input.contains_key(&name) => {
                    used.insert(name);
                }
                Source::Input(name) => {
                    let known = self.plan.input.keys().cloned().collect();
                    let why = Wrong::UnknownInput { name: short(&name), known };
                    return Err(wrong(self.at(at, place), why));
                }
            }
        }
        for name in &step.after {
            needs.insert(place_of(name, "after")?);
        }
        Ok((needs, feeds.into_iter().collect()))
    }

    /// An order in which every step comes after those it needs: of those that could be next, the first in the plan.
    fn order(&self, needs: &[BTreeSet<usize>]) -> Result<Vec<usize>, PlanError> {
        let (mut order, mut done) = (Vec::new(), BTreeSet::new());
        while order.len() < needs.len() {
            let ready =
                |(at, needs): &(usize, &BTreeSet<usize>)| !done.contains(at) && needs.is_subset(&done);
            match needs.iter().enumerate().find(ready) {
                Some((at, _)) => {
                    order.push(at);
                    done.insert(at);
                }
                None => return Err(self.cycle(needs, &done)),
            }
        }
        Ok(order)
    }

    /// Who waits for whom: each step that is left needs another that is left, so following them comes around.
    fn cycle(&self, needs: &[BTreeSet<usize>], done: &BTreeSet<usize>) -> PlanError {
        let next = |at: &usize| needs.get(*at).and_then(|n| n.iter().find(|at| !done.contains(at))).copied();
        let mut path: Vec<usize> = Vec::new();
        let mut at = (0..needs.len()).find(|at| !done.contains(at));
        while let Some(step) = at.filter(|step| !path.contains(step)) {
            path.push(step);
            at = next(&step);
        }
        let first = at.unwrap_or_default();
        let from = path.iter().position(|step| *step == first).unwrap_or_default();
        let around = path.iter().skip(from).chain([&first]);
        let steps = around.filter_map(|at| self.plan.steps.get(*at)).map(|s| s.name.clone()).collect();
        wrong(self.at(first, "args or after"), Wrong::Cycle { steps })
    }
}

pub(super) fn wrong(place: Place, why: Wrong) -> PlanError {
    PlanError::Wrong { place, why }
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(MAX_NAME_BYTES).collect()
}

fn bound(place: Place, actual: usize, least: usize, most: usize, what: &str) -> Result<(), PlanError> {
    if (least..=most).contains(&actual) {
        return Ok(());
    }
    let allowed = if most == usize::MAX { format!("{least} or more") } else { format!("{least} to {most}") };
    Err(wrong(place, Wrong::Bound { actual: format!("{actual} {what}"), allowed }))
}

/// What TOML has and JSON has not comes out of its reader as null or as an object of one odd key.
fn json(value: &Json) -> Result<(), String> {
    match value {
        Json::Null => {
            Err("a plan has no null: leave an option out, and write \"nan\" or \"inf\" as texts".to_owned())
        }
        Json::Array(items) => items.iter().try_for_each(json),
        Json::Object(fields) if fields.keys().any(|key| key.starts_with("$__toml")) => {
            Err("JSON has no dates: write it as a text".to_owned())
        }
        Json::Object(fields) if fields.keys().any(|key| key.chars().any(char::is_control)) => {
            Err("a field's name holds a control character, which no function's has".to_owned())
        }
        Json::Object(fields) => fields.values().try_for_each(json),
        _ => Ok(()),
    }
}

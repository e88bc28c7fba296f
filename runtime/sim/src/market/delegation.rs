//! What a requester does with what it found: whom it asks, what it checks, and what it learns. The rules are `actum_trust`'s.

use super::Ctx;
use crate::{Figures, params::Step};
use actum_discovery::Found;
use actum_model::Did;
use std::collections::BTreeMap;

/// What happens in delegation.
#[derive(Debug)]
pub(crate) enum Event {}

/// An action that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// For which workflow.
    pub(crate) job: u64,
    /// Whether the output that was handed over is right; `None` where there is none.
    pub(crate) right: Option<bool>,
}

/// Actions under way, and what each requester holds of providers.
pub(crate) struct Delegations {}

impl Delegations {
    pub(crate) fn new(_ctx: &mut Ctx<'_>) -> Self {
        Self {}
    }

    /// Delegates an action to one of those found.
    pub(crate) fn begin(
        &mut self,
        job: u64,
        _requester: u32,
        _capability: usize,
        _step: Step,
        _found: Vec<Found>,
        _ctx: &mut Ctx<'_>,
    ) -> Vec<Done> {
        vec![Done { job, right: None }]
    }

    pub(crate) fn handle(&mut self, event: Event, _ctx: &mut Ctx<'_>) -> Vec<Done> {
        match event {}
    }

    /// Peers that take another name now; each is told once.
    pub(crate) fn renamed(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// What a requester has of a provider itself, as the order of what is found reads it.
    pub(crate) fn seen(&self, _requester: u32, _provider: &Did) -> actum_discovery::Record {
        actum_discovery::Record::default()
    }

    pub(crate) fn figures(&self, _counted: &Figures, _all: &mut BTreeMap<&'static str, f64>) {}
}

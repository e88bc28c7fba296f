//! How offers are announced and found: providers' announcements, registries and queries. The rules are
//! `actum_discovery`'s; here messages are carried and time goes by.

use super::{Ctx, population::Population};
use crate::Figures;
use actum_discovery::Gathering;
use actum_model::{Filters, Query};
use std::collections::BTreeMap;

/// What happens in a directory.
#[derive(Debug)]
pub(crate) enum Event {
    /// To be written.
    Nothing(u64),
}

/// A query whose answers have come.
pub(crate) struct Looked {
    /// For which workflow.
    pub(crate) job: u64,
    /// What came.
    pub(crate) gathering: Gathering,
    /// A random number of this query.
    pub(crate) draw: u64,
}

/// Providers' statements, and registries.
pub(crate) struct Directory {}

impl Directory {
    pub(crate) fn new(_ctx: &mut Ctx<'_>) -> Self {
        Self {}
    }

    /// Begins to look for whoever offers a capability.
    pub(crate) fn find(&mut self, job: u64, _requester: u32, _capability: usize, ctx: &mut Ctx<'_>) {
        ctx.engine.after(crate::Span::from_millis(1), super::Event::Directory(Event::Nothing(job)));
    }

    pub(crate) fn handle(&mut self, event: Event, ctx: &mut Ctx<'_>) -> Option<Looked> {
        let Event::Nothing(job) = event;
        let did = Self::anybody(ctx.population);
        let query = Query {
            iss: did,
            aud: did,
            text: String::new(),
            filters: Filters::default(),
            limit: 10,
            nonce: serde_bytes::ByteArray::new([0; 12]),
        };
        Some(Looked { job, gathering: Gathering::new(query), draw: 0 })
    }

    fn anybody(population: &Population) -> actum_model::Did {
        population.peers[0].did
    }

    /// Takes in that a peer goes by another name now.
    pub(crate) fn renamed(&mut self, _peer: u32, _ctx: &mut Ctx<'_>) {}

    pub(crate) fn figures(&self, _counted: &Figures, _all: &mut BTreeMap<&'static str, f64>) {}
}

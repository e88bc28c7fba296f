//! How much others may announce and ask here, and what of theirs was dropped.

use crate::clock;
use actum_discovery::{Allowance, Intake, TooMuch, advertise::LocalAddresses};
use actum_model::Did;
use actum_overlay::{Refusal, RefusalCode};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a node lets others announce and ask.
pub(crate) struct Intakes(Mutex<Inner>);

struct Inner {
    announcements: Intake,
    queries: Intake,
    /// How often something was dropped, by code. The codes are few.
    dropped: BTreeMap<&'static str, u64>,
}

impl Intakes {
    pub(crate) fn new(local: LocalAddresses) -> Self {
        Self(Mutex::new(Inner {
            announcements: Intake::new(Allowance::ANNOUNCEMENTS, local),
            queries: Intake::new(Allowance::QUERIES, local),
            dropped: BTreeMap::new(),
        }))
    }

    /// Takes an announcement, or a withdrawal, into account; refuses it where there were too many.
    pub(crate) fn announcement(&self, peer: Did, ip: IpAddr) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let asked = inner.announcements.ask(clock::now_millis(), peer, ip);
        asked.map_err(|much| inner.refuse(much))
    }

    /// As [`announcement`](Self::announcement), of a query.
    pub(crate) fn query(&self, peer: Did, ip: IpAddr) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let asked = inner.queries.ask(clock::now_millis(), peer, ip);
        asked.map_err(|much| inner.refuse(much))
    }

    /// Counts something dropped, and holds it against whoever is at fault: it may send so much less.
    pub(crate) fn dropped(&self, code: &'static str, at_fault: Option<(Did, IpAddr)>) {
        let mut inner = self.lock();
        *inner.dropped.entry(code).or_default() += 1;
        if let Some((peer, ip)) = at_fault {
            inner.announcements.charge(peer, ip);
            inner.queries.charge(peer, ip);
        }
    }

    /// What was dropped, by code.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().dropped.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn refuse(&mut self, much: TooMuch) -> Refusal {
        *self.dropped.entry(much.code()).or_default() += 1;
        let refusal = Refusal::new(RefusalCode::Busy, much.to_string());
        match much {
            TooMuch::Fast { again_ms } => refusal.retry_after_ms(again_ms),
            TooMuch::Busy => refusal,
        }
    }
}

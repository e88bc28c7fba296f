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

    /// Counts something dropped.
    pub(crate) fn dropped(&self, code: &'static str) {
        *self.lock().dropped.entry(code).or_default() += 1;
    }

    /// Holds a message that could not have been right at any time against who sent it: it may send so much less.
    pub(crate) fn fault(&self, peer: Did) {
        let mut inner = self.lock();
        inner.announcements.charge_peer(peer);
        inner.queries.charge_peer(peer);
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

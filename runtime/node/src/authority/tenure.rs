//! For how long an action may run: asked before each effect.

use super::{Gate, Grounds};
use crate::clock;
use actum_model::{Withdrawal, ucan::Chain};
use actum_overlay::RefusalCode;
use std::{fmt, sync::Arc};

/// The authority an action runs by, for as long as it holds. What it calls runs by it too.
#[derive(Clone)]
pub(crate) struct Tenure {
    gate: Arc<Gate>,
    chain: Chain,
}

impl Tenure {
    /// That of an action with these grounds; none where they cannot end.
    pub(crate) fn of(gate: &Arc<Gate>, grounds: &Grounds) -> Option<Self> {
        grounds.chain.clone().map(|chain| Self { gate: gate.clone(), chain })
    }

    /// Why it has ended, if it has. Costs some microseconds.
    pub(crate) fn ended(&self) -> Option<Withdrawal> {
        self.gate.refresh();
        let refusal = self.gate.holds(&self.chain, clock::now_secs()).err()?;
        Some(match refusal.code {
            RefusalCode::Expired | RefusalCode::TooEarly => Withdrawal::Expired,
            _ => Withdrawal::Revoked,
        })
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenure").field(&self.chain.ids()).finish()
    }
}

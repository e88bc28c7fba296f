//! For how long an action may run: asked before each effect.

use super::{Gate, Grounds};
use crate::clock;
use actum_model::{Did, Withdrawal, ucan::Chain};
use actum_overlay::RefusalCode;
use std::{fmt, sync::Arc};

/// The authority an action runs by, for as long as it holds. What it calls runs by it too.
#[derive(Clone)]
pub(crate) struct Tenure {
    gate: Arc<Gate>,
    requester: Did,
    chain: Option<Chain>,
}

impl Tenure {
    /// That of an action with these grounds; none of the owner's own, which does not end.
    pub(crate) fn of(gate: &Arc<Gate>, requester: Did, grounds: &Grounds) -> Option<Self> {
        let (gate, chain) = (gate.clone(), grounds.chain.clone());
        (!grounds.authority.is_own()).then_some(Self { gate, requester, chain })
    }

    /// Why it has ended, if it has. Costs some microseconds.
    pub(crate) fn ended(&self) -> Option<Withdrawal> {
        self.gate.refresh();
        let asks = self.gate.may_ask(&self.requester);
        let holds = |chain: &Chain| self.gate.holds(chain, clock::now_secs());
        let refusal = asks.and_then(|()| self.chain.as_ref().map_or(Ok(()), holds)).err()?;
        Some(match refusal.code {
            RefusalCode::Expired | RefusalCode::TooEarly => Withdrawal::Expired,
            _ => Withdrawal::Revoked,
        })
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenure").field(&self.chain.as_ref().map(Chain::ids)).finish()
    }
}

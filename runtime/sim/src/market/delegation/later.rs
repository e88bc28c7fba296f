//! Replays that come after the answer: those that are drawn, and those of outputs that somebody notices to be wrong.

use super::{Action, Delegations, Event, Reply, place, tally};
use crate::{
    Span,
    market::{self, Ctx},
};
use actum_trust::Experience;

/// How long after it got a wrong output somebody who notices has its receipt replayed: a minute.
const NOTICED_AFTER: Span = Span::from_seconds(60);

/// A replay that is going to be.
pub(super) struct Owed {
    requester: u32,
    capability: usize,
    reply: Reply,
}

impl Delegations {
    /// Has an answer replayed on the requester's idle core, one at a time.
    pub(super) fn replay_later(&mut self, action: &Action, reply: &Reply, ctx: &mut Ctx<'_>) {
        let ready = self.components.ready(action.requester, action.capability, ctx);
        let (now, takes) = (ctx.now(), ctx.profile.takes.replay);
        let Some(asker) = self.requesters.get_mut(place(action.requester)) else { return };
        let over = asker.replayed_by(ready, takes);
        self.owe(action, reply, over.since(now), ctx);
    }

    /// Whoever got a wrong output may notice by itself.
    pub(super) fn notice(&mut self, action: &Action, reply: &Reply, ctx: &mut Ctx<'_>) {
        let Some(asker) = self.requesters.get_mut(place(action.requester)) else { return };
        if asker.notices.chance(ctx.params.noticed) {
            self.owe(action, reply, NOTICED_AFTER + ctx.profile.takes.replay, ctx);
        }
    }

    fn owe(&mut self, action: &Action, reply: &Reply, within: Span, ctx: &mut Ctx<'_>) {
        let id = self.number();
        let owed = Owed { requester: action.requester, capability: action.capability, reply: *reply };
        self.owed.insert(id, owed);
        ctx.engine.after(within, market::Event::Delegation(Event::Later(id)));
    }

    /// A replay that was owed is over.
    pub(super) fn replayed_later(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        let Some(owed) = self.owed.remove(&id) else { return };
        let ready = self.components.ready(owed.requester, owed.capability, ctx);
        if ready > ctx.now() {
            self.owed.insert(id, owed);
            let over = ready + ctx.profile.takes.replay;
            ctx.engine.at(over, market::Event::Delegation(Event::Later(id)));
            return;
        }
        tally::replays(1, ctx);
        let what = if owed.reply.said.replays() { Experience::Identical } else { Experience::Diverged };
        self.note((owed.requester, owed.capability), owed.reply.did, what, Some(owed.reply.receipt), ctx);
    }
}

//! Whom an action goes to, with which canaries, and how a call comes to its provider and back.

use super::{
    Action, Attempt, Call, DEADLINE, Delegations, Event, NOT_THERE_AFTER, Phase, Reply, Turn, What,
    conduct::Said, is_online, is_there, place, providers::Admitted, tally, times,
};
use crate::{
    Span,
    market::{self, Ctx},
    params::Step,
};
use actum_discovery::Found;
use actum_trust::{
    Asker, Canaries, Candidate, Class, Effect, Failure, Refused, Replay, canary, choose, plan, sampling,
};

/// What a step may do, as the policy's table has it.
fn effect_of(step: Step) -> Effect {
    match step {
        Step::Pure => Effect::Pure,
        Step::Reads => Effect::Reads,
        Step::Writes => Effect::Writes,
    }
}

impl Delegations {
    /// An action, and the candidates for it in the order to ask them. None where the policy has no level for it.
    pub(super) fn open(
        &mut self,
        job: u64,
        requester: u32,
        capability: usize,
        step: Step,
        found: &[Found],
        ctx: &mut Ctx<'_>,
    ) -> Option<Action> {
        let (effect, now) = (effect_of(step), ctx.now());
        let class = Class { effect, args_bytes: ctx.profile.weighs.args, asker: Asker::Own };
        let (_, level, _) = ctx.policy.level_for(&class, None).ok()?;
        let wanted = ctx.population.capabilities.get(capability)?;
        let asker = self.requesters.get_mut(place(requester))?;
        let ranked = found.iter().filter_map(|found| {
            let d = found.offer.descriptor().payload();
            let item = ctx.population.by_did(&d.iss)?;
            let candidate = Candidate { provider: d.iss, release: d.release, item };
            // What answers the same words and is something else is not what is wanted.
            (d.name.as_str() == wanted.name && item != requester).then_some(candidate)
        });
        let draw = asker.draws.number();
        let record_of = |did: &_| asker.record(did, &wanted.component, now.unix_seconds());
        let chosen = choose(ranked.collect(), record_of, level, draw).candidates;
        Some(Action {
            job,
            requester,
            capability,
            effect,
            level: *level,
            chosen,
            place: 0,
            until: now + DEADLINE,
            turn: 0,
            ran: false,
            attempt: None,
        })
    }

    /// Goes on with the next candidate, or ends.
    pub(super) fn next(&mut self, id: u64, mut action: Action, ctx: &mut Ctx<'_>) {
        let most = place(action.level.fallbacks).saturating_add(1).min(action.chosen.len());
        let now = ctx.now();
        while action.place < most && now < action.until {
            let Some(candidate) = action.chosen.get(action.place) else { break };
            let (did, provider) = (candidate.candidate.provider, candidate.candidate.item);
            action.place += 1;
            let Some(wanted) = ctx.population.capabilities.get(action.capability) else { break };
            let Some(asker) = self.requesters.get_mut(place(action.requester)) else { break };
            // As it is by now: the checks of those before it may have shown that it lies.
            let record = asker.record(&did, &wanted.component, now.unix_seconds());
            if record.standing().excluded() {
                continue;
            }
            let nth = asker.next_receipt_of(&did);
            let due = sampling::due(&asker.secret, &did, nth, action.level.replay_one_in);
            let draw = asker.draws.number();
            let plan = plan(&action.level, action.effect, &record, due, draw);
            let plan = plan.with_canaries(action.effect == Effect::Pure);
            let left = action.until.since(now);
            let patience = match action.place < most && action.effect <= Effect::Reads {
                true => left.min(Span::from_seconds(u64::from(plan.patience_seconds))),
                false => left,
            };
            let canaries = Canaries { wanted: plan.canaries, ..Canaries::default() };
            let mut attempt = Attempt {
                provider,
                did,
                plan,
                patience,
                fair: true,
                waiting: Vec::new(),
                work: None,
                others: Vec::new(),
                canaries,
                confirmed: false,
                phase: Phase::Asking,
            };
            action.turn += 1;
            let turn = Turn { action: id, turn: action.turn };
            if !is_there(provider, &did, ctx) {
                self.call(&action, &mut attempt, turn, (What::Work, provider, did), ctx);
            } else {
                // What could not be checked here is not begun, where it could not be undone.
                let checks = plan.replay == Replay::Before && action.effect > Effect::Reads;
                let ready = match checks || plan.canaries > 0 {
                    true => self.components.ready(action.requester, action.capability, ctx),
                    false => now,
                };
                ctx.figures.add("canaries", f64::from(plan.canaries));
                ctx.figures.add("runs_here", f64::from(plan.canaries));
                let known = ready + times(ctx.profile.takes.execute, place(plan.canaries));
                match known > now {
                    true => ctx.engine.at(known, market::Event::Delegation(Event::Ask(turn))),
                    false => self.send(&action, &mut attempt, turn, ctx),
                }
            }
            self.keep(id, action, attempt);
            return;
        }
        self.end(&action, None, ctx);
    }

    /// The canaries' answers are known, and what has to be there is.
    pub(super) fn ask(&mut self, turn: Turn, ctx: &mut Ctx<'_>) {
        let Some((action, mut attempt)) = self.take(turn) else { return };
        if !is_online(action.requester, ctx) {
            // Whoever has gone asks nobody.
            self.end(&action, None, ctx);
            return;
        }
        self.send(&action, &mut attempt, turn, ctx);
        self.keep(turn.action, action, attempt);
    }

    /// Sends the action and its canaries, in an order that nobody can foresee.
    fn send(&mut self, action: &Action, attempt: &mut Attempt, turn: Turn, ctx: &mut Ctx<'_>) {
        let left = attempt.patience.min(action.until.since(ctx.now()));
        attempt.fair = attempt.plan.fair(left.duration(), DEADLINE.duration());
        let canaries = attempt.plan.canaries;
        let at = match self.requesters.get_mut(place(action.requester)) {
            Some(asker) if canaries > 0 => canary::order(canaries, asker.draws.number()),
            _ => 0,
        };
        let to = (attempt.provider, attempt.did);
        for n in 0..=place(canaries) {
            let what = if n == at { What::Work } else { What::Canary };
            self.call(action, attempt, turn, (what, to.0, to.1), ctx);
        }
        if attempt.plan.replay == Replay::Before {
            // What the answer is checked with comes while the provider works.
            self.components.ready(action.requester, action.capability, ctx);
        }
        ctx.engine.after(left, market::Event::Delegation(Event::Over(turn)));
    }

    /// Calls a provider, or finds that it is not there.
    pub(super) fn call(
        &mut self,
        action: &Action,
        attempt: &mut Attempt,
        of: Turn,
        (what, provider, did): (What, u32, actum_model::Did),
        ctx: &mut Ctx<'_>,
    ) {
        let (id, requester) = (self.number(), action.requester);
        attempt.waiting.push((id, what, did));
        let call = Call {
            of,
            requester,
            provider,
            did,
            capability: action.capability,
            effect: action.effect,
            what,
            said: Said::Truth,
            sent: ctx.now(),
        };
        if !is_there(provider, &did, ctx) {
            // Somebody of another name says at once that it is not the one.
            let one_way = ctx.link().one_way;
            let known = if is_online(provider, ctx) { one_way + one_way } else { NOT_THERE_AFTER };
            self.calls.insert(id, call);
            ctx.engine.after(known, market::Event::Delegation(Event::NotReached(id)));
            return;
        }
        let weighs = ctx.profile.weighs;
        if tally::send(requester, weighs.call.saturating_add(weighs.args), Event::Arrives(id), ctx) {
            self.calls.insert(id, call);
        }
    }

    /// A call comes to its provider.
    pub(super) fn arrives(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        ctx.carrier.delivered();
        let Some(call) = self.calls.get(&id).copied() else { return };
        if !is_there(call.provider, &call.did, ctx) {
            self.calls.remove(&id);
            return;
        }
        match self.providers.admit(call.provider, (id, call.requester), call.capability, ctx) {
            Admitted::Runs => self.run(id, ctx),
            Admitted::Waits(None) => {}
            Admitted::Waits(Some(displaced)) => self.refuse(displaced, Refused::NotNow, ctx),
            Admitted::Refused(why) => self.refuse(id, why, ctx),
            Admitted::Vanishes => {
                self.calls.remove(&id);
            }
        }
    }

    fn refuse(&mut self, id: u64, why: Refused, ctx: &mut Ctx<'_>) {
        let Some(provider) = self.calls.get(&id).map(|call| call.provider) else { return };
        if !tally::send(provider, tally::REFUSAL_BYTES, Event::Refused(id, why), ctx) {
            self.calls.remove(&id);
        }
    }

    /// A provider begins to execute a call.
    fn run(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (takes, said) =
            self.providers.execute(call.provider, call.what == What::Canary, call.effect, ctx);
        call.said = said;
        ctx.engine.after(takes, market::Event::Delegation(Event::Executed(id)));
    }

    /// A provider has executed a call.
    pub(super) fn executed(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        let Some(call) = self.calls.get(&id).copied() else { return };
        let (next, gone) = self.providers.ended(call.provider, ctx);
        for id in gone {
            self.calls.remove(&id);
        }
        next.into_iter().for_each(|id| self.run(id, ctx));
        ctx.figures.count("runs_there");
        if let Some(action) = self.actions.get_mut(&call.of.action) {
            action.ran = true;
        }
        if ctx.params.balances {
            self.providers.served(call.provider, call.requester, ctx.profile.weighs.fuel, ctx.now());
        }
        let bytes = ctx.profile.weighs.done.saturating_add(ctx.profile.weighs.output);
        let there = is_online(call.provider, ctx);
        if !there || !tally::send(call.provider, bytes, Event::Answered(id), ctx) {
            self.calls.remove(&id);
        }
    }

    /// An answer comes.
    pub(super) fn answered(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        ctx.carrier.delivered();
        let Some(call) = self.calls.remove(&id) else { return };
        if !is_online(call.requester, ctx) {
            return;
        }
        if ctx.params.balances {
            self.providers.consumed(call.requester, call.provider, ctx.profile.weighs.fuel);
        }
        if let Some(asker) = self.requesters.get_mut(place(call.requester)) {
            asker.came(&call.did, !call.said.is_right(), ctx.now());
        }
        let millis = ctx.now().since(call.sent).micros() / 1_000;
        let millis = u32::try_from(millis).unwrap_or(u32::MAX);
        let reply = Reply { receipt: id, did: call.did, said: call.said, millis };
        self.came(id, &call, Ok(reply), ctx);
    }

    /// It is known that no answer comes.
    pub(super) fn failed(&mut self, id: u64, why: Failure, ctx: &mut Ctx<'_>) {
        let Some(call) = self.calls.remove(&id) else { return };
        if is_online(call.requester, ctx) {
            self.came(id, &call, Err(why), ctx);
        } else if let Some((action, _)) = self.take(call.of) {
            // Whoever has gone waits for nothing: of one that was not there nothing else would come.
            self.end(&action, None, ctx);
        }
    }

    /// Something came of a call: with the last of them, the attempt goes on.
    fn came(&mut self, id: u64, call: &Call, came: Result<Reply, Failure>, ctx: &mut Ctx<'_>) {
        let Some((action, mut attempt)) = self.take(call.of) else { return };
        attempt.waiting.retain(|(waiting, ..)| *waiting != id);
        match call.what {
            What::Work => attempt.work = Some(came),
            What::Canary | What::Replica => attempt.others.push((call.did, came)),
        }
        match attempt.waiting.is_empty() {
            true => self.back(call.of.action, action, attempt, ctx),
            false => self.keep(call.of.action, action, attempt),
        }
    }

    /// Whoever has not answered by now is late.
    pub(super) fn over(&mut self, turn: Turn, ctx: &mut Ctx<'_>) {
        let Some((action, mut attempt)) = self.take(turn) else { return };
        if !is_online(action.requester, ctx) {
            // Whoever has gone waits for nothing, and learns nothing.
            self.end(&action, None, ctx);
            return;
        }
        let late = Failure::Late { may_have_run: true, fair: attempt.fair };
        for (_, what, did) in std::mem::take(&mut attempt.waiting) {
            match what {
                What::Work => attempt.work = Some(Err(late)),
                What::Canary | What::Replica => attempt.others.push((did, Err(late))),
            }
        }
        self.back(turn.action, action, attempt, ctx);
    }
}

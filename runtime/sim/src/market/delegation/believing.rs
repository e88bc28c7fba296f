//! What an answer has to pass before it is handed over: canaries, replicas, replay.

use super::{
    Action, Attempt, DEADLINE, Delegations, Done, Event, Phase, Reply, Turn, What, place, tally, times,
};
use crate::{
    Span,
    market::{self, Ctx},
};
use actum_discovery::advertise::Prefix;
use actum_model::Did;
use actum_trust::{
    Chosen, Effect, Experience, Failure, Next,
    replicas::{self, Considered, Settled},
};

/// What replay says of an answer.
fn judgement(reply: &Reply) -> Experience {
    if reply.said.replays() { Experience::Identical } else { Experience::Diverged }
}

/// Of these, those that are of the providers named.
fn of(replies: &[Reply], providers: &[Did]) -> Vec<Reply> {
    let mut of = Vec::new();
    for did in providers {
        of.extend(replies.iter().find(|reply| reply.did == *did));
    }
    of
}

impl Delegations {
    /// All that was asked has come back, or is not waited for any longer.
    pub(super) fn back(&mut self, id: u64, action: Action, mut attempt: Attempt, ctx: &mut Ctx<'_>) {
        if let Phase::Comparing(first) = attempt.phase {
            self.compared(id, action, attempt, first, ctx);
            return;
        }
        let (mut wrong, who) = (Vec::new(), (action.requester, action.capability));
        for (did, came) in std::mem::take(&mut attempt.others) {
            match came {
                Ok(reply) if reply.said.is_right() => {
                    self.note(who, did, Experience::Identical, Some(reply.receipt), ctx);
                    attempt.canaries.answered += 1;
                }
                Ok(reply) => wrong.push(reply),
                Err(failure) => self.note_failure(who, did, failure, ctx),
            }
        }
        if wrong.is_empty() {
            self.checked(id, action, attempt, ctx);
        } else {
            // That it was not answered rightly, replay decides.
            let many = wrong.len();
            attempt.phase = Phase::Canaries(wrong);
            self.replay(id, action, attempt, many, ctx);
        }
    }

    fn note_failure(&mut self, who: (u32, usize), did: Did, failure: Failure, ctx: &mut Ctx<'_>) {
        if let Some(what) = failure.experience() {
            self.note(who, did, what, None, ctx);
        }
    }

    /// Waits until so many answers were replayed, one after the other.
    fn replay(&mut self, id: u64, mut action: Action, attempt: Attempt, many: usize, ctx: &mut Ctx<'_>) {
        action.turn += 1;
        let turn = Turn { action: id, turn: action.turn };
        tally::replays(many, ctx);
        let ready = self.components.ready(action.requester, action.capability, ctx);
        let over = ready + times(ctx.profile.takes.replay, many);
        if let (Phase::Replayed(reply), Some(asker)) =
            (&attempt.phase, self.requesters.get_mut(place(action.requester)))
        {
            asker.judge_until(&reply.did, over);
        }
        ctx.engine.at(over, market::Event::Delegation(Event::Judged(turn)));
        self.keep(id, action, attempt);
    }

    /// What was being replayed is.
    pub(super) fn judged(&mut self, turn: Turn, ctx: &mut Ctx<'_>) {
        let Some((action, mut attempt)) = self.take(turn) else { return };
        let (id, who) = (turn.action, (action.requester, action.capability));
        match std::mem::replace(&mut attempt.phase, Phase::Asking) {
            Phase::Canaries(wrong) => {
                for reply in wrong {
                    let what = judgement(&reply);
                    self.note(who, reply.did, what, Some(reply.receipt), ctx);
                    match what {
                        Experience::Diverged => attempt.canaries.lied = true,
                        _ => attempt.canaries.answered += 1,
                    }
                }
                self.checked(id, action, attempt, ctx);
            }
            Phase::Doubted { agreed, doubted } => {
                let mut proven = None;
                for reply in doubted {
                    let what = judgement(&reply);
                    let of_all_there_is = action.effect == Effect::Pure;
                    // That what rests on the world replays would speak for nobody.
                    if of_all_there_is || what == Experience::Diverged {
                        self.note(who, reply.did, what, Some(reply.receipt), ctx);
                    }
                    if of_all_there_is && what == Experience::Identical {
                        proven.get_or_insert(reply);
                    }
                }
                self.settle(id, action, attempt, &agreed, proven, ctx);
            }
            Phase::LookedInto { by, agreed } => {
                for reply in agreed {
                    self.note(who, reply.did, judgement(&reply), Some(reply.receipt), ctx);
                }
                self.believe(id, action, attempt, by, ctx);
            }
            Phase::Replayed(reply) => {
                let what = judgement(&reply);
                self.note(who, reply.did, what, Some(reply.receipt), ctx);
                match what {
                    Experience::Diverged => self.fail(id, action, Failure::Lied, ctx),
                    _ => {
                        attempt.confirmed = true;
                        self.believe(id, action, attempt, reply, ctx);
                    }
                }
            }
            Phase::Waiting(reply) => self.unless_caught(id, action, &attempt, &reply, ctx),
            Phase::Asking | Phase::Comparing(_) => self.keep(id, action, attempt),
        }
    }

    /// Canaries are judged: now the answer itself.
    fn checked(&mut self, id: u64, action: Action, mut attempt: Attempt, ctx: &mut Ctx<'_>) {
        let who = (action.requester, action.capability);
        let late = Failure::Late { may_have_run: true, fair: attempt.fair };
        let reply = match attempt.work.take().unwrap_or(Err(late)) {
            Ok(reply) => reply,
            Err(failure) => {
                self.note_failure(who, attempt.did, failure, ctx);
                self.fail(id, action, failure, ctx);
                return;
            }
        };
        let served = Experience::Served { millis: reply.millis };
        self.note(who, reply.did, served, Some(reply.receipt), ctx);
        if attempt.plan.next(&attempt.canaries, false) == Next::Refuse {
            self.fail(id, action, Failure::Lied, ctx);
        } else if attempt.plan.replicas > 1 {
            self.compare(id, action, attempt, reply, ctx);
        } else {
            self.believe(id, action, attempt, reply, ctx);
        }
    }

    /// Has the same action done by others who share neither operator nor address prefix.
    fn compare(
        &mut self,
        id: u64,
        mut action: Action,
        mut attempt: Attempt,
        reply: Reply,
        ctx: &mut Ctx<'_>,
    ) {
        let mut all: Vec<Chosen<u32>> = Vec::new();
        let of = ctx.population.capabilities.get(action.capability);
        let asker = self.requesters.get_mut(place(action.requester));
        if let (Some(of), Some(asker)) = (of, asker) {
            let now = ctx.now().unix_seconds();
            let first = action.chosen.iter().filter(|c| c.candidate.provider == attempt.did);
            all.extend(first.cloned());
            let others = action.chosen.iter().filter(|c| c.candidate.provider != attempt.did);
            all.extend(
                others
                    .filter(|c| {
                        !asker.record(&c.candidate.provider, &of.component, now).standing().excluded()
                    })
                    .cloned(),
            );
        }
        let operator_of = |chosen: &Chosen<u32>| {
            let peer = ctx.population.peer(chosen.candidate.item);
            let operator = peer.map_or(chosen.candidate.provider, |peer| peer.operator);
            (operator, peer.map(|peer| format!("{:?}", Prefix::of(peer.ip))))
        };
        let picked = replicas::independent(&all, operator_of, place(attempt.plan.replicas));
        action.turn += 1;
        let turn = Turn { action: id, turn: action.turn };
        let left = attempt.patience.min(action.until.since(ctx.now()));
        attempt.fair = replicas::fair(left.duration(), DEADLINE.duration());
        for other in picked.into_iter().filter_map(|n| all.get(n)) {
            let (did, provider) = (other.candidate.provider, other.candidate.item);
            if did != attempt.did {
                self.call(&action, &mut attempt, turn, (What::Replica, provider, did), ctx);
            }
        }
        attempt.phase = Phase::Comparing(reply);
        if attempt.waiting.is_empty() {
            self.back(id, action, attempt, ctx);
        } else {
            ctx.engine.after(left, market::Event::Delegation(Event::Over(turn)));
            self.keep(id, action, attempt);
        }
    }

    /// Replicas have answered, or are not waited for.
    fn compared(&mut self, id: u64, action: Action, mut attempt: Attempt, first: Reply, ctx: &mut Ctx<'_>) {
        let (mut replies, who) = (vec![first], (action.requester, action.capability));
        for (did, came) in std::mem::take(&mut attempt.others) {
            match came {
                Ok(reply) => {
                    let served = Experience::Served { millis: reply.millis };
                    self.note(who, did, served, Some(reply.receipt), ctx);
                    replies.push(reply);
                }
                Err(failure) => self.note_failure(who, did, failure, ctx),
            }
        }
        let said: Vec<_> = replies.iter().map(|r| (r.did, r.said.digest(&r.did, r.receipt))).collect();
        match replicas::consider(action.effect, &said) {
            Considered::Alone { replay: false } => self.fail(id, action, Failure::Unverified, ctx),
            Considered::Alone { replay: true } => {
                attempt.phase = Phase::Replayed(first);
                self.replay(id, action, attempt, 1, ctx);
            }
            Considered::Several { agreed, doubted } => {
                let (agreed, doubted) = (of(&replies, &agreed), of(&replies, &doubted));
                match doubted.len() {
                    0 => self.settle(id, action, attempt, &agreed, None, ctx),
                    many => {
                        attempt.phase = Phase::Doubted { agreed, doubted };
                        self.replay(id, action, attempt, many, ctx);
                    }
                }
            }
        }
    }

    /// Whose answer it is, after those that are doubted were replayed.
    fn settle(
        &mut self,
        id: u64,
        action: Action,
        mut attempt: Attempt,
        agreed: &[Reply],
        proven: Option<Reply>,
        ctx: &mut Ctx<'_>,
    ) {
        let agree: Vec<Did> = agreed.iter().map(|reply| reply.did).collect();
        let reply_of = |did: &Did| agreed.iter().find(|reply| reply.did == *did).copied();
        match (replicas::settle(&attempt.did, &agree, proven.map(|reply| reply.did)), proven) {
            (Settled::Proven { .. }, Some(by)) => {
                attempt.confirmed = true;
                match agreed.len() {
                    0 => self.believe(id, action, attempt, by, ctx),
                    many => {
                        attempt.phase = Phase::LookedInto { by, agreed: agreed.to_vec() };
                        self.replay(id, action, attempt, many, ctx);
                    }
                }
            }
            (Settled::Agreed { by, replay }, _) => match (reply_of(&by), replay) {
                (Some(reply), true) => {
                    attempt.phase = Phase::Replayed(reply);
                    self.replay(id, action, attempt, 1, ctx);
                }
                (Some(reply), false) => self.believe(id, action, attempt, reply, ctx),
                (None, _) => self.fail(id, action, Failure::Unverified, ctx),
            },
            (Settled::Proven { .. } | Settled::Nobody, _) => {
                self.fail(id, action, Failure::Unverified, ctx);
            }
        }
    }

    /// Replays an answer, or hands it over, or waits for what another answer of that provider is found to be.
    fn believe(
        &mut self,
        id: u64,
        mut action: Action,
        mut attempt: Attempt,
        reply: Reply,
        ctx: &mut Ctx<'_>,
    ) {
        match attempt.plan.next(&attempt.canaries, attempt.confirmed) {
            Next::Refuse => self.fail(id, action, Failure::Lied, ctx),
            Next::Confirmed => self.hand_over(&action, &attempt, &reply, ctx),
            Next::Replay => {
                attempt.phase = Phase::Replayed(reply);
                self.replay(id, action, attempt, 1, ctx);
            }
            Next::HandOver => {
                let asker = self.requesters.get(place(action.requester));
                let judging = asker.map_or(ctx.now(), |asker| asker.judging(&attempt.did));
                if judging.since(ctx.now()) == Span::ZERO {
                    self.unless_caught(id, action, &attempt, &reply, ctx);
                    return;
                }
                action.turn += 1;
                let turn = Turn { action: id, turn: action.turn };
                attempt.phase = Phase::Waiting(reply);
                ctx.engine.at(judging, market::Event::Delegation(Event::Judged(turn)));
                self.keep(id, action, attempt);
            }
        }
    }

    /// Hands an answer over, unless its provider was caught meanwhile.
    fn unless_caught(
        &mut self,
        id: u64,
        action: Action,
        attempt: &Attempt,
        reply: &Reply,
        ctx: &mut Ctx<'_>,
    ) {
        let of = ctx.population.capabilities.get(action.capability);
        let asker = self.requesters.get_mut(place(action.requester));
        let caught = of.zip(asker).is_some_and(|(of, asker)| {
            asker.record(&attempt.did, &of.component, ctx.now().unix_seconds()).fraud.is_some()
        });
        match caught {
            true => self.fail(id, action, Failure::Unverified, ctx),
            false => self.hand_over(&action, attempt, reply, ctx),
        }
    }

    fn hand_over(&mut self, action: &Action, attempt: &Attempt, reply: &Reply, ctx: &mut Ctx<'_>) {
        if attempt.plan.replays_later(attempt.confirmed) {
            self.replay_later(action, reply, ctx);
        }
        if !reply.said.is_right() {
            self.notice(action, reply, ctx);
        }
        self.end(action, Some(reply.said.is_right()), ctx);
    }

    /// Goes on with another candidate, as far as the action may be run twice.
    fn fail(&mut self, id: u64, action: Action, failure: Failure, ctx: &mut Ctx<'_>) {
        if failure.goes_on(action.effect) {
            ctx.figures.count("fell_back");
            self.next(id, action, ctx);
        } else {
            self.end(&action, None, ctx);
        }
    }

    /// An action is over.
    pub(super) fn end(&mut self, action: &Action, right: Option<bool>, ctx: &mut Ctx<'_>) {
        tally::ended(action.requester, action.ran, right, ctx);
        self.done.push(Done { job: action.job, right });
    }
}

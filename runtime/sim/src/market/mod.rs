//! A market of actions in virtual time: providers announce to registries, requesters find, delegate and check, by the node's
//! own rules; some providers are hostile. Its parts are the directory and the delegation.

mod delegation;
mod directory;
mod population;
mod releases;

use crate::{
    Carrier, Engine, Figures, Span, Stream, Streams, Time,
    params::Params,
    profile::{Link, Profile},
};
use actum_model::{Release, Signed};
use actum_trust::RiskPolicy;
use delegation::Delegations;
use directory::Directory;
use population::Population;
use std::{collections::BTreeMap, sync::Arc};

/// What happens in a market.
#[derive(Debug)]
pub(crate) enum Event {
    Directory(directory::Event),
    Delegation(delegation::Event),
    /// A requester begins a workflow.
    Begin(u32),
}

/// What every part of a market works with.
pub(crate) struct Ctx<'a> {
    pub(crate) engine: &'a mut Engine<Event>,
    pub(crate) carrier: &'a mut Carrier,
    pub(crate) population: &'a mut Population,
    pub(crate) figures: &'a mut Figures,
    pub(crate) params: &'a Params,
    pub(crate) policy: &'a RiskPolicy,
    pub(crate) profile: &'a Profile,
    pub(crate) streams: Streams,
}

impl Ctx<'_> {
    pub(crate) fn now(&self) -> Time {
        self.engine.now()
    }

    /// What carries messages.
    pub(crate) fn link(&self) -> Link {
        self.params.link.unwrap_or(self.profile.link)
    }
}

/// A workflow under way.
#[derive(Debug)]
struct Workflow {
    requester: u32,
    step: usize,
    began: Time,
    asked: Time,
    wrong: bool,
}

/// A market, and what came of it so far.
pub struct Market {
    params: Params,
    policy: RiskPolicy,
    profile: Profile,
    streams: Streams,
    engine: Engine<Event>,
    carrier: Carrier,
    population: Population,
    figures: Figures,
    directory: Directory,
    delegations: Delegations,
    workflows: BTreeMap<u64, Workflow>,
    next_workflow: u64,
    draws: BTreeMap<u32, Stream>,
}

impl Market {
    /// A market before anything has happened.
    pub fn new(params: Params, policy: RiskPolicy, profile: Profile, seed: u64) -> Self {
        Self::of_releases(params, policy, profile, &[], seed)
    }

    /// The same, of these releases: the first ones are the workflows' steps in their order. Those that lack are made up.
    pub fn of_releases(
        params: Params,
        policy: RiskPolicy,
        profile: Profile,
        releases: &[Arc<Signed<Release>>],
        seed: u64,
    ) -> Self {
        let streams = Streams::new(seed);
        let mut engine = Engine::new();
        let mut carrier = Carrier::new(params.link.unwrap_or(profile.link), params.peers, streams);
        let mut population = Population::new(&params, releases, streams);
        let mut figures = Figures::default();
        let mut ctx = Ctx {
            engine: &mut engine,
            carrier: &mut carrier,
            population: &mut population,
            figures: &mut figures,
            params: &params,
            policy: &policy,
            profile: &profile,
            streams,
        };
        let directory = Directory::new(&mut ctx);
        let delegations = Delegations::new(&mut ctx);
        let mut market = Self {
            params,
            policy,
            profile,
            streams,
            engine,
            carrier,
            population,
            figures,
            directory,
            delegations,
            workflows: BTreeMap::new(),
            next_workflow: 0,
            draws: BTreeMap::new(),
        };
        for requester in 0..market.params.requesters {
            market.begin_later(requester);
        }
        market
    }

    /// Goes on until `end`, or until so many events more have happened; says whether it came to `end`.
    pub fn run(&mut self, end: Time, most: u64) -> bool {
        for _ in 0..most {
            let Some(event) = self.engine.next_before(end) else { return true };
            self.handle(event);
        }
        false
    }

    /// What came of it so far: shares are of 1, times in milliseconds, bytes for each peer and second.
    pub fn figures(&self) -> BTreeMap<&'static str, f64> {
        let f = &self.figures;
        let mut all = BTreeMap::from([
            ("workflows", f.get("workflows")),
            ("success", f.share("succeeded", "workflows")),
            ("wrong", f.share("wrong", "workflows")),
            ("failed", f.share("failed", "workflows")),
            ("workflow_ms", f.quantile("workflow_ms", 500)),
            ("discovery_ms", f.quantile("discovery_ms", 500)),
            ("discovery_ms_p95", f.quantile("discovery_ms", 950)),
            ("steps", f.get("steps")),
            ("wrong_steps", f.share("wrong_steps", "steps")),
            ("events", self.engine.handled() as f64),
        ]);
        let peers = f64::from(self.params.peers.max(1));
        let seconds = self.engine.now().since(Time::ZERO).seconds().max(1.0);
        let each = |bytes: u64| bytes as f64 / peers / seconds;
        all.insert("control_bytes", each(self.carrier.control_bytes()));
        for kind in crate::Kind::ALL {
            let name = match kind {
                crate::Kind::Announce => "announce_bytes",
                crate::Kind::Find => "find_bytes",
                crate::Kind::Advertise => "advertise_bytes",
                crate::Kind::Reconcile => "reconcile_bytes",
                crate::Kind::Fraud => "fraud_bytes",
                crate::Kind::Action => "action_bytes",
            };
            all.insert(name, each(self.carrier.sent(kind).bytes));
        }
        self.directory.figures(f, &mut all);
        self.delegations.figures(f, &mut all);
        all
    }

    /// The engine, for how many events there were.
    pub fn engine(&self) -> (u64, u64, usize) {
        (self.engine.scheduled(), self.engine.handled(), self.engine.pending())
    }

    /// Messages sent, and those still under way.
    pub fn messages(&self) -> (u64, u64) {
        (self.carrier.messages(), self.carrier.under_way())
    }

    fn parts(&mut self) -> (Ctx<'_>, &mut Directory, &mut Delegations) {
        let ctx = Ctx {
            engine: &mut self.engine,
            carrier: &mut self.carrier,
            population: &mut self.population,
            figures: &mut self.figures,
            params: &self.params,
            policy: &self.policy,
            profile: &self.profile,
            streams: self.streams,
        };
        (ctx, &mut self.directory, &mut self.delegations)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Begin(requester) => {
                self.begin_later(requester);
                // Who is not there begins nothing.
                if !self.population.peer(requester).is_some_and(|peer| peer.online) {
                    return;
                }
                let id = self.next_workflow;
                self.next_workflow += 1;
                let now = self.engine.now();
                let workflow = Workflow { requester, step: 0, began: now, asked: now, wrong: false };
                self.workflows.insert(id, workflow);
                self.step(id);
            }
            Event::Directory(event) => {
                let (mut ctx, directory, delegations) = self.parts();
                let seen = |requester, did: &actum_model::Did| delegations.seen(requester, did);
                if let Some(looked) = directory.handle(event, &seen, &mut ctx) {
                    self.looked(looked);
                }
            }
            Event::Delegation(event) => {
                let (mut ctx, directory, delegations) = self.parts();
                let done = delegations.handle(event, &mut ctx);
                for peer in delegations.renamed() {
                    ctx.population.rename(peer);
                    directory.renamed(peer, &mut ctx);
                }
                done.into_iter().for_each(|done| self.done(&done));
            }
        }
    }

    fn begin_later(&mut self, requester: u32) {
        if self.params.workflows_per_hour <= 0.0 {
            return;
        }
        let mean = Span::from_micros((3_600_000_000.0 / self.params.workflows_per_hour) as u64);
        let streams = self.streams;
        let draws = self.draws.entry(requester);
        let draws = draws.or_insert_with(|| streams.of("workflows", u64::from(requester)));
        let span = draws.exponential(mean);
        self.engine.after(span, Event::Begin(requester));
    }

    /// Looks for whoever does the step that a workflow has come to, or ends it.
    fn step(&mut self, id: u64) {
        let Some(workflow) = self.workflows.get_mut(&id) else { return };
        if self.params.steps.get(workflow.step).is_none() {
            let (wrong, began) = (workflow.wrong, workflow.began);
            self.end(id, if wrong { "wrong" } else { "succeeded" }, began);
            return;
        }
        workflow.asked = self.engine.now();
        let (requester, step) = (workflow.requester, workflow.step);
        let (mut ctx, directory, _) = self.parts();
        directory.find(id, requester, step, &mut ctx);
    }

    fn looked(&mut self, looked: directory::Looked) {
        let Some(workflow) = self.workflows.get(&looked.job) else { return };
        let (requester, step) = (workflow.requester, workflow.step);
        let now = self.engine.now();
        self.figures.sample("discovery_ms", now.since(workflow.asked).millis());
        let Some(kind) = self.params.steps.get(step).copied() else { return };
        let directory::Looked { job, found, omissions } = looked;
        let (mut ctx, directory, delegations) = self.parts();
        directory.looked(requester, step, &found, &omissions, &mut ctx);
        let done = delegations.begin(job, requester, step, kind, found, &mut ctx);
        done.into_iter().for_each(|done| self.done(&done));
    }

    fn done(&mut self, done: &delegation::Done) {
        let Some(workflow) = self.workflows.get_mut(&done.job) else { return };
        self.figures.count("steps");
        match done.right {
            None => {
                let began = workflow.began;
                self.end(done.job, "failed", began);
            }
            Some(right) => {
                if !right {
                    self.figures.count("wrong_steps");
                    workflow.wrong = true;
                }
                workflow.step += 1;
                self.step(done.job);
            }
        }
    }

    fn end(&mut self, id: u64, how: &'static str, began: Time) {
        self.workflows.remove(&id);
        self.figures.count("workflows");
        self.figures.count(how);
        self.figures.sample("workflow_ms", self.engine.now().since(began).millis());
    }
}

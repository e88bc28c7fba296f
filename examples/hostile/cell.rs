//! One kind of provider under one level of risk: the peers are started, every action is delegated, and what came of it is
//! counted.

use crate::{
    hearing::{Heard, Hearing},
    kinds::{Kind, TURNS_AFTER},
    peers::{Peer, make_home},
    work::{Keep, Task, Work},
};
use actum_model::{Did, Filters, Granted};
use actum_node::{
    Config, Home,
    invoke::{self, Choices},
    node::Node,
    requester::{CallProgress, CallRequest, Delegated, Found, Prepared, Requester},
};
use clap::ValueEnum;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::BTreeSet,
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Actions under way at once.
pub(crate) const IN_FLIGHT: usize = 8;
/// How many honest providers there are.
pub(crate) const HONEST: usize = 3;
/// How many actions go by before it is looked anew who offers the capability. `actum call` looks each time; here, where
/// nobody comes and few go, and where everyone known is put in order anew for each action anyway, that would measure looking.
const LOOK_EVERY: usize = 1_000;
/// How long one action may take.
const DEADLINE: Duration = Duration::from_secs(180);
/// How long the peers get to be found by the requester.
const FOUND_WITHIN: Duration = Duration::from_secs(180);
/// How often it is looked whether they are.
const FOUND_POLL: Duration = Duration::from_millis(100);
/// Whoever was not asked in the last so many of a hundred actions counts as dropped.
const TAIL_PERCENT: usize = 10;

/// A level of risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    /// A wrong answer is a nuisance
    Low,
    /// A wrong answer costs something
    Medium,
    /// No answer is better than a wrong one
    High,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What came of one kind under one level.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) actions: usize,
    /// Wrong outputs handed over.
    pub(crate) wrong: usize,
    /// Actions that ended without an output, and why the first did.
    pub(crate) failed: usize,
    pub(crate) failure: Option<String>,
    /// Fuel of the work itself, as it is known here.
    pub(crate) fuel: u64,
    pub(crate) extra_fuel: u64,
    /// Bytes of arguments and outputs of the work itself.
    pub(crate) bytes: u64,
    pub(crate) extra_bytes: u64,
    /// In how many actions a hostile provider was asked anything, and the last of them: its number from 1, and when.
    pub(crate) asked: usize,
    pub(crate) last_asked: Option<(usize, Duration)>,
    /// The longest that anybody waited for an answer.
    pub(crate) longest: Duration,
    pub(crate) took: Duration,
    /// Actions that hostile providers took, and lies that they told.
    pub(crate) served: u64,
    pub(crate) lies: u64,
    pub(crate) heard: Heard,
}

impl Tally {
    /// Whether nobody hostile is asked any more.
    pub(crate) fn is_dropped(&self) -> bool {
        let tail = self.actions.saturating_mul(100_usize.saturating_sub(TAIL_PERCENT)) / 100;
        self.last_asked.is_some_and(|(n, _)| n <= tail)
    }

    /// Extra fuel, in thousandths of the work's.
    pub(crate) fn extra_permille(&self) -> u64 {
        self.extra_fuel.saturating_mul(1_000).checked_div(self.fuel).unwrap_or(0)
    }

    fn note(&mut self, done: Done<'_>, hostile: &BTreeSet<Did>, began: Instant) {
        self.actions = self.actions.saturating_add(1);
        self.longest = self.longest.max(done.took);
        let mut asked = done.asked;
        match done.result {
            Ok(Delegated { called, explained }) => {
                if called.output.as_deref() != Some(&done.task.output) {
                    self.wrong = self.wrong.saturating_add(1);
                }
                let bytes = u64::try_from(done.task.args.len().saturating_add(done.task.output.len()));
                self.fuel = self.fuel.saturating_add(done.task.fuel);
                self.bytes = self.bytes.saturating_add(bytes.unwrap_or(u64::MAX));
                self.extra_fuel = self.extra_fuel.saturating_add(explained.extra_fuel);
                self.extra_bytes = self.extra_bytes.saturating_add(explained.extra_bytes);
                asked.insert(explained.provider);
                asked.extend(explained.fell_back.iter().map(|(provider, _)| *provider));
                asked.extend(explained.checks.iter().map(|check| check.provider));
            }
            Err(why) => {
                self.failed = self.failed.saturating_add(1);
                self.failure.get_or_insert(why);
            }
        }
        if !asked.is_disjoint(hostile) {
            self.asked = self.asked.saturating_add(1);
            if self.last_asked.is_none_or(|(n, _)| n < done.number) {
                self.last_asked = Some((done.number, began.elapsed()));
            }
        }
    }
}

/// One action that ended.
struct Done<'a> {
    /// From 1, as they were begun.
    number: usize,
    task: &'a Task,
    asked: BTreeSet<Did>,
    result: Result<Delegated, String>,
    took: Duration,
}

/// A requester that has reached the index. One tries for seconds; a busy machine may need more.
async fn reach(home: &Arc<Home>, index: &str) -> Result<Requester, Box<dyn Error>> {
    let until = Instant::now() + FOUND_WITHIN;
    loop {
        let requester = Requester::start(home.clone(), &[], &[index.to_owned()]).await?;
        let missed = requester.unreached().join("; ");
        if missed.is_empty() {
            return Ok(requester);
        }
        requester.stop().await?;
        if Instant::now() > until {
            return Err(format!("the index could not be reached: {missed}").into());
        }
    }
}

/// What one run is about.
pub(crate) struct Cell<'a> {
    pub(crate) author: &'a Home,
    pub(crate) work: &'a Work,
    pub(crate) kind: Kind,
    pub(crate) level: Level,
    /// Another patience than the level has, in seconds.
    pub(crate) patience: Option<u32>,
}

impl Cell<'_> {
    /// Runs it in a directory of its own.
    pub(crate) async fn run(&self, dir: &Path) -> Result<Tally, Box<dyn Error>> {
        let (index, providers) = self.start_peers(dir)?;
        let hostile: BTreeSet<Did> =
            providers.iter().filter(|peer| peer.kind != Kind::Nobody).map(|peer| peer.did).collect();
        let home = dir.join("you");
        let home = Arc::new(make_home(self.author, self.work, &home)?);
        // The node of the same home: what the requester finds out, it tells the others.
        let honest = providers.iter().filter(|peer| peer.kind == Kind::Nobody);
        let bootstrap = honest.chain([&index]).map(|peer| peer.address.clone()).collect();
        let node = Node::start(home.clone(), Config { bootstrap, ..Config::default() }, None).await?;
        let requester = reach(&home, &index.address).await?;
        let requester = match self.patience {
            Some(seconds) => {
                let text = format!("[risk.level.{}]\npatience_seconds = {seconds}\n", self.level.name());
                requester.with_policy(Config::parse(&text)?.risk)
            }
            None => requester,
        };
        let found = self.find_all(&requester, &providers).await?;
        if let Some(keep) = self.work.keep() {
            self.keep(&requester, &providers, &keep).await?;
        }
        let honest = providers.iter().filter(|peer| peer.kind == Kind::Nobody);
        let witnesses = honest.chain([&index]).map(|peer| peer.home.root().to_owned()).collect();
        let hearing = Hearing::start(home.root().to_owned(), witnesses, hostile.clone());
        let done = self.delegate_all(&requester, found, &hostile).await;
        let heard = hearing.end(done.is_ok() && self.kind.is_provable());
        let mut tally = Tally { heard, ..done? };
        requester.stop().await?;
        node.stop().await;
        for peer in providers {
            let (served, lies) = peer.stop()?;
            tally.served = tally.served.saturating_add(served);
            tally.lies = tally.lies.saturating_add(lies);
        }
        index.stop()?;
        Ok(tally)
    }

    /// The one that the others announce to, then the others, of whom the hostile ones are in the middle.
    fn start_peers(&self, dir: &Path) -> Result<(Peer, Vec<Peer>), Box<dyn Error>> {
        let turns_after = TURNS_AFTER.min(u64::try_from(self.work.tasks().count() / 10)?);
        let start = |name: &str, kind: Kind, bootstrap: &[String]| {
            let home = dir.join(name);
            Peer::start(make_home(self.author, self.work, &home)?, kind, self.work, bootstrap, turns_after)
        };
        let mut index = start("index", Kind::Nobody, &[])?;
        index.ready()?;
        let bootstrap = [index.address.clone()];
        // Where nobody is hostile one more is honest, so that as many are there.
        let others = match self.kind.count() {
            0 => vec![Kind::Nobody],
            n => vec![self.kind; n],
        };
        let mut kinds = vec![Kind::Nobody; HONEST];
        drop(kinds.splice(1..1, others));
        let mut providers = Vec::new();
        for (n, kind) in kinds.into_iter().enumerate() {
            providers.push(start(&format!("provider-{n}"), kind, &bootstrap)?);
        }
        for peer in &mut providers {
            peer.ready()?;
        }
        Ok((index, providers))
    }

    async fn find(&self, requester: &Requester, filters: &Filters) -> Result<Vec<Found>, Box<dyn Error>> {
        Ok(requester.candidates(&self.work.release.payload().name.to_string(), filters).await?)
    }

    /// Waits until all providers are found.
    async fn find_all(
        &self,
        requester: &Requester,
        providers: &[Peer],
    ) -> Result<Vec<Found>, Box<dyn Error>> {
        let until = Instant::now() + FOUND_WITHIN;
        loop {
            let found = self.find(requester, &Filters::default()).await;
            if let Ok(found) = &found
                && found.len() == providers.len()
            {
                return Ok(found.clone());
            }
            if Instant::now() > until {
                let found = found.map(|found| found.len());
                return Err(format!("of {} providers there were found: {found:?}", providers.len()).into());
            }
            tokio::time::sleep(FOUND_POLL).await;
        }
    }

    /// Gives each provider to keep what it will be asked for.
    async fn keep(
        &self,
        requester: &Requester,
        providers: &[Peer],
        keep: &Keep,
    ) -> Result<(), Box<dyn Error>> {
        for peer in providers {
            let filters = Filters { provider: Some(peer.did), ..Filters::default() };
            let prepared = requester.prepare(&self.find(requester, &filters).await?, keep.function).await?;
            let no_files = &mut |_: &str| Err("no files here".to_owned());
            let args = invoke::encode_args(&prepared.function, &keep.args, no_files)?;
            let granted: Granted = keep.granted.parse()?;
            let choices = Choices { permissions: BTreeSet::from([granted]), ..Choices::default() };
            let request = CallRequest { args, choices, deadline: DEADLINE };
            let called = requester.call(prepared, request, &mut |_| {}).await?;
            if called.output.is_none() {
                return Err(format!("facts could not be kept: {}", called.receipt.payload().outcome).into());
            }
        }
        Ok(())
    }

    async fn delegate_all(
        &self,
        requester: &Requester,
        found: Vec<Found>,
        hostile: &BTreeSet<Did>,
    ) -> Result<Tally, Box<dyn Error>> {
        let function = self.work.function.name.to_string();
        let choices = self.work.choices()?;
        let mut prepared = requester.prepare(&found, &function).await?;
        let (mut tally, began) = (Tally::default(), Instant::now());
        let mut flying = FuturesUnordered::new();
        for (n, task) in self.work.tasks().enumerate() {
            if n > 0 && n.is_multiple_of(LOOK_EVERY) {
                // Those known stay known where nobody answers.
                if let Ok(found) = self.find(requester, &Filters::default()).await {
                    prepared = requester.prepare(&found, &function).await?;
                }
            }
            if flying.len() >= IN_FLIGHT
                && let Some(done) = flying.next().await
            {
                tally.note(done, hostile, began);
            }
            flying.push(self.delegate(
                requester,
                prepared.clone(),
                n.saturating_add(1),
                task,
                choices.clone(),
            ));
        }
        while let Some(done) = flying.next().await {
            tally.note(done, hostile, began);
        }
        tally.took = began.elapsed();
        Ok(tally)
    }

    async fn delegate<'t>(
        &self,
        requester: &Requester,
        prepared: Prepared,
        number: usize,
        task: &'t Task,
        choices: Choices,
    ) -> Done<'t> {
        let request = CallRequest { args: task.args.clone(), choices, deadline: DEADLINE };
        let (mut asked, began) = (BTreeSet::new(), Instant::now());
        let mut progress = |progress: CallProgress| {
            if let CallProgress::Asking { provider } = progress {
                asked.insert(provider);
            }
        };
        let result = requester.delegate(prepared, request, Some(self.level.name()), &mut progress).await;
        Done { number, task, asked, result: result.map_err(|e| e.to_string()), took: began.elapsed() }
    }
}

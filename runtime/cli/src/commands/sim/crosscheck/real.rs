//! The real side of a cross-check: registries and providers, each a process of its own, and requesters in this one.

use super::{
    CAPACITY, Setting,
    work::{Ended, Work},
};
use crate::{
    commands::sim::homes::Stage,
    error::{CliError, Kind},
    output::Progress,
};
use actum_node::{Traffic, TrafficKind, clock, requester::Requester};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::{JoinSet, LocalSet},
    time::Instant,
};

/// Registries.
pub(super) const REGISTRIES: u32 = 3;
/// Processes that start at once: a core each would be as fast, and no machine stands still for these.
const STARTING: usize = 8;
/// How long all providers get to be heard of by all registries.
const HEARD_WITHIN: Duration = Duration::from_secs(180);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest wait for a workflow: longer than anything is measured.
const FAR: Duration = Duration::from_secs(86_400);
/// How long peers that are killed get to be gone.
const DIES_WITHIN: Duration = Duration::from_secs(10);
/// How long what was begun in time gets to end.
const END_WITHIN: Duration = Duration::from_secs(60);

/// What came of the real network.
pub(super) struct Real {
    pub(super) right: u32,
    pub(super) wrong: u32,
    pub(super) failed: u32,
    /// Why the first that failed did.
    pub(super) why: Option<String>,
    /// Bytes that all sent, by kind, while it was measured.
    pub(super) sent: BTreeMap<TrafficKind, u64>,
    /// How long that was.
    pub(super) took: Duration,
}

/// A peer that runs. Killed when dropped, at some time.
struct Peer {
    address: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts a peer of this home. It is not ready before [`Self::ready`].
    fn start(home: &Path, more: &[String], talks: bool) -> Result<Self, CliError> {
        let exe = std::env::current_exe().map_err(|e| failed(format!("cannot find this program: {e}")))?;
        let mut command = Command::new(exe);
        command.arg("--home").arg(home).args(["sim", "peer"]).args(more).env_remove("ACTUM_HOME");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        command.stderr(if talks { Stdio::inherit() } else { Stdio::null() });
        let mut child = command.spawn().map_err(|e| failed(format!("cannot start a peer: {e}")))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| failed("a peer has no standard output"))?;
        Ok(Self { address: String::new(), child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Waits until it says its address.
    async fn ready(&mut self) -> Result<(), CliError> {
        let said = self.line().await?;
        let address = said.get("addresses").and_then(|all| all.get(0)).and_then(serde_json::Value::as_str);
        self.address = address.ok_or_else(|| failed("a peer has no address"))?.to_owned();
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), CliError> {
        let stdin = self.stdin.as_mut().ok_or_else(|| failed("a peer ended"))?;
        stdin.write_all(b"\n").await.map_err(|_| failed("a peer ended"))
    }

    async fn line(&mut self) -> Result<serde_json::Value, CliError> {
        let line = self.lines.next_line().await.map_err(|e| failed(format!("a peer: {e}")))?;
        let line = line.ok_or_else(|| failed("a peer ended; with -v it says why"))?;
        serde_json::from_str(&line).map_err(|e| failed(format!("a peer said what nobody understands: {e}")))
    }
}

fn failed(what: impl Into<String>) -> CliError {
    CliError::new(Kind::Internal, what)
}

/// All peers that run as processes, the registries first.
struct Peers(Vec<Peer>);

impl Peers {
    /// Starts peers of these homes, a few at a time, and waits until all are ready.
    async fn start(&mut self, homes: &[(PathBuf, Vec<String>)], talks: bool) -> Result<(), CliError> {
        for some in homes.chunks(STARTING) {
            let first = self.0.len();
            for (home, more) in some {
                self.0.push(Peer::start(home, more, talks)?);
            }
            for peer in self.0.iter_mut().skip(first) {
                peer.ready().await?;
            }
        }
        Ok(())
    }

    /// What each has sent by now, and of how many providers it has heard.
    async fn ask(&mut self) -> Result<Vec<(Traffic, u64)>, CliError> {
        for peer in &mut self.0 {
            peer.ask().await?;
        }
        let mut all = Vec::new();
        for peer in &mut self.0 {
            let mut said = peer.line().await?;
            let heard = said.get("heard").and_then(serde_json::Value::as_u64).unwrap_or_default();
            let traffic = said.get_mut("traffic").map(serde_json::Value::take).unwrap_or_default();
            let traffic = serde_json::from_value(traffic);
            all.push((traffic.map_err(|e| failed(format!("a peer counts otherwise: {e}")))?, heard));
        }
        Ok(all)
    }

    /// Ends all of them well.
    async fn stop(mut self) {
        for peer in &mut self.0 {
            drop(peer.stdin.take());
        }
        for peer in &mut self.0 {
            let _ = peer.child.wait().await;
        }
    }
}

impl Drop for Peers {
    /// None of them is left: where they write is removed next.
    fn drop(&mut self) {
        for peer in &mut self.0 {
            let _ = peer.child.start_kill();
        }
        let until = Instant::now() + DIES_WITHIN;
        for peer in &mut self.0 {
            while matches!(peer.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Runs the real network.
pub(super) async fn run(
    stage: &Stage,
    work: Arc<Work>,
    setting: &Setting,
    progress: &Progress,
) -> Result<Real, CliError> {
    let mut peers = Peers(Vec::new());
    let lease = ["--lease".to_owned(), setting.lease.to_string()];
    progress.say("starting the registries");
    let mut named: Vec<String> = Vec::new();
    for n in 0..REGISTRIES {
        let name = format!("registry-{n}");
        drop(stage.home(&name, &work.published())?);
        let mut more: Vec<String> = ["--registry".to_owned()].into_iter().chain(lease.clone()).collect();
        // Each knows those before it, so that they find one another.
        more.extend(named.iter().flat_map(|address| ["--bootstrap".to_owned(), address.clone()]));
        peers.start(&[(stage.home_path(&name), more)], setting.talks).await?;
        named = peers.0.iter().map(|peer| peer.address.clone()).collect();
    }
    let mut providers = Vec::new();
    for n in 0..setting.peers {
        progress.say(format!("making homes: {n} of {}", setting.peers));
        // An interruption is heard between two.
        tokio::task::yield_now().await;
        let name = format!("provider-{n}");
        drop(stage.home(&name, &work.published())?);
        let mut more: Vec<String> = lease.to_vec();
        more.extend(["--parallel".to_owned(), CAPACITY.to_string()]);
        more.extend(named.iter().flat_map(|address| ["--bootstrap".to_owned(), address.clone()]));
        for published in work.published() {
            more.extend(["--offer".to_owned(), published.release.id().to_string()]);
        }
        // The last ones lie, as in the simulated network.
        if n >= setting.peers.saturating_sub(setting.liars()) {
            more.push("--lies".to_owned());
        }
        providers.push((stage.home_path(&name), more));
    }
    progress.say(format!("starting {} providers", setting.peers));
    peers.start(&providers, setting.talks).await?;
    all_heard(&mut peers, setting, progress).await?;
    progress.say("letting them settle");
    tokio::time::sleep(setting.settle()).await;

    let mut requesters = Vec::new();
    for n in 0..setting.requesters {
        let home = Arc::new(stage.home(&format!("requester-{n}"), &work.published())?);
        let requester = Requester::start(home, &named, &[]).await?;
        requesters.push(Arc::new(requester.with_policy(setting.policy.clone())));
    }
    let before = sent(&mut peers, &requesters).await?;
    let began = Instant::now();
    let mut real = asking(&requesters, &work, setting, progress).await;
    let (after, took) = (sent(&mut peers, &requesters).await?, began.elapsed());
    for requester in requesters.into_iter().filter_map(Arc::into_inner) {
        requester.stop().await?;
    }
    progress.say("stopping the peers");
    peers.stop().await;
    real.took = took;
    let of =
        |kind: &TrafficKind, all: &BTreeMap<TrafficKind, u64>| all.get(kind).copied().unwrap_or_default();
    let moved = |kind| (kind, of(&kind, &after).saturating_sub(of(&kind, &before)));
    real.sent = TrafficKind::ALL.into_iter().map(moved).collect();
    Ok(real)
}

/// Waits until every registry has heard of every provider.
async fn all_heard(peers: &mut Peers, setting: &Setting, progress: &Progress) -> Result<(), CliError> {
    let until = Instant::now() + HEARD_WITHIN;
    let registries = usize::try_from(REGISTRIES).unwrap_or(usize::MAX);
    loop {
        let heard =
            peers.ask().await?.iter().take(registries).map(|(_, heard)| *heard).min().unwrap_or_default();
        if heard >= u64::from(setting.peers) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(failed(format!(
                "of {} providers a registry heard of {heard} in {} s",
                setting.peers,
                HEARD_WITHIN.as_secs()
            )));
        }
        progress.say(format!("the registries have heard of {heard} of {}", setting.peers));
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Bytes that all of them have sent by now, by kind.
async fn sent(
    peers: &mut Peers,
    requesters: &[Arc<Requester>],
) -> Result<BTreeMap<TrafficKind, u64>, CliError> {
    let peers = peers.ask().await?.into_iter().map(|(traffic, _)| traffic);
    let mut all = BTreeMap::new();
    for traffic in peers.chain(requesters.iter().map(|requester| requester.traffic())) {
        for kind in TrafficKind::ALL {
            let sum: &mut u64 = all.entry(kind).or_default();
            *sum = sum.saturating_add(traffic.of(kind).sent.bytes);
        }
    }
    Ok(all)
}

/// Each requester begins workflows at random moments for as long as is measured.
async fn asking(
    requesters: &[Arc<Requester>],
    work: &Arc<Work>,
    setting: &Setting,
    progress: &Progress,
) -> Real {
    let until = Instant::now() + Duration::from_secs(setting.seconds);
    progress.say(format!("workflows for {} s", setting.seconds));
    let mut real =
        Real { right: 0, wrong: 0, failed: 0, why: None, sent: BTreeMap::new(), took: Duration::ZERO };
    let all = LocalSet::new();
    let ended = all.run_until(async {
        let mut asking = JoinSet::new();
        for requester in requesters {
            asking.spawn_local(begin(requester.clone(), work.clone(), setting.workflows_per_hour, until));
        }
        let mut ended = Vec::new();
        while let Some(of_one) = asking.join_next().await {
            ended.extend(of_one.unwrap_or_default());
        }
        ended
    });
    for (how, why) in ended.await {
        let count = match how {
            Ended::Right => &mut real.right,
            Ended::Wrong => &mut real.wrong,
            Ended::Failed => &mut real.failed,
        };
        *count = count.saturating_add(1);
        real.why = real.why.take().or(why);
    }
    real
}

/// How a workflow ended, and why where it failed.
type End = (Ended, Option<String>);

fn never(why: &str) -> End {
    (Ended::Failed, Some(why.to_owned()))
}

/// One requester begins workflows until that moment, and waits for all of them.
async fn begin(requester: Arc<Requester>, work: Arc<Work>, per_hour: f64, until: Instant) -> Vec<End> {
    let (mut flying, mut ended) = (JoinSet::new(), Vec::new());
    loop {
        let next = Instant::now() + wait(per_hour);
        tokio::time::sleep_until(next.min(until)).await;
        if next >= until {
            break;
        }
        let (requester, work) = (requester.clone(), work.clone());
        let draw = u64::from_le_bytes(clock::random());
        flying.spawn_local(async move { work.once(&requester, draw).await });
        while let Some(done) = flying.try_join_next() {
            ended.push(done.unwrap_or_else(|_| never("it came to no end")));
        }
    }
    let rest = async {
        while let Some(done) = flying.join_next().await {
            ended.push(done.unwrap_or_else(|_| never("it came to no end")));
        }
    };
    // What is still under way by then has failed whoever waits for it.
    let in_time = tokio::time::timeout(END_WITHIN, rest).await.is_ok();
    let late = if in_time { 0 } else { flying.len() };
    ended.extend((0..late).map(|_| never("it took too long")));
    ended
}

/// How long until the next workflow begins: exponential, so that nothing is in step.
fn wait(per_hour: f64) -> Duration {
    // 53 bits of a random number between 0 and 1, neither of them.
    let share = ((u64::from_le_bytes(clock::random()) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let mean = 3_600.0 / per_hour.max(f64::MIN_POSITIVE);
    Duration::try_from_secs_f64(-share.ln() * mean).unwrap_or(FAR).min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_begin_as_often_as_they_should() {
        let all: f64 = (0..20_000).map(|_| wait(720.0).as_secs_f64()).sum();
        assert!((4.8..5.2).contains(&(all / 20_000.0)), "{all}");
    }
}

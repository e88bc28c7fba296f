//! What the real node takes and weighs, measured on it: signatures, calls and replays of a real action between real nodes,
//! searches of a real index, and the bytes of real messages. For whoever models a network of such nodes.
//!
//! Times are medians, so that what else the machine did now and then does not count. Nothing is kept but in the homes given.

mod calls;
mod index;
mod link;
mod sizes;

use crate::{home::Home, node::NodeError};
use actum_model::{Release, Signed};
use actum_overlay::{ConnectError, OverlayError, RequestError};
use actum_sandbox::{ExecuteError, LoadError, ReplayError};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How often each thing is done at least: fewer give no median worth the name.
pub const MIN_ROUNDS: usize = 50;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A home failed.
    #[error(transparent)]
    Home(#[from] crate::HomeError),
    /// A home's store failed.
    #[error(transparent)]
    Store(#[from] crate::StoreError),
    /// A node did not start.
    #[error("a node did not start")]
    Node(#[from] NodeError),
    /// Nobody could be asked.
    #[error("nobody could be asked")]
    Find(#[from] crate::requester::FindError),
    /// A call failed.
    #[error("a call failed")]
    Call(#[from] crate::requester::CallError),
    /// The arguments do not fit.
    #[error(transparent)]
    Args(#[from] crate::invoke::ArgsError),
    /// The network could not be set up.
    #[error("the network could not be set up")]
    Overlay(#[from] OverlayError),
    /// A peer on this machine could not be reached.
    #[error("a peer on this machine could not be reached")]
    Connect(#[from] ConnectError),
    /// A peer on this machine did not answer.
    #[error("a peer on this machine did not answer")]
    Request(#[from] RequestError),
    /// The component could not be loaded.
    #[error("the component could not be loaded")]
    Load(#[from] LoadError),
    /// The action could not be executed.
    #[error("the action could not be executed")]
    Execute(#[from] ExecuteError),
    /// The action could not be run again.
    #[error("the action could not be run again")]
    Replay(#[from] ReplayError),
    /// The release could not be described.
    #[error("the release could not be described")]
    Describe(#[from] actum_discovery::DescribeError),
    /// The index failed.
    #[error("the index failed")]
    Index(#[from] actum_registry::RegistryError),
    /// There is no proof of the lie told for this.
    #[error("there is no proof of the lie that was told for this")]
    Proof(#[from] crate::fraud::ProofError),
    /// A receipt could not be audited.
    #[error("a receipt could not be audited")]
    Audit(#[from] crate::audit::AuditError),
    /// Something else happened than does on a machine that works.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// The homes that it is measured with. Each has the release and its component, and no node that runs.
pub struct Homes {
    /// Of the registry.
    pub registry: Arc<Home>,
    /// Of the provider.
    pub provider: Arc<Home>,
    /// Of who asks.
    pub requester: Arc<Home>,
}

/// The action that is run: it must be deterministic, and need nothing of the world.
pub struct Subject<'a> {
    /// The component.
    pub component: &'a [u8],
    /// Its release.
    pub release: &'a Signed<Release>,
    /// The function, by name.
    pub function: &'a str,
    /// The arguments.
    pub args: &'a serde_json::Value,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What carries messages, on loopback.
    pub link: Link,
    /// What work takes.
    pub takes: Takes,
    /// What messages weigh.
    pub weighs: Weighs,
}

/// What carries messages between two peers of this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Half of a round trip of a request that nobody has to think about.
    pub one_way: Duration,
    /// The standard deviation of a way's natural logarithm, where both ways vary alike.
    pub sigma: f64,
    /// Bytes a second that one large message moves at.
    pub bytes_per_second: u64,
}

/// What work takes: medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Takes {
    /// Signing a lease.
    pub sign: Duration,
    /// Verifying one.
    pub verify: Duration,
    /// A call on a warm provider, without its execution and a round trip.
    pub admit: Duration,
    /// Executing the action.
    pub execute: Duration,
    /// The standard deviation of its natural logarithm.
    pub execute_sigma: f64,
    /// Executing it again from its receipt, evidence checked.
    pub replay: Duration,
    /// Answering a query from an index, without what each offer takes.
    pub search: Duration,
    /// What each offer in the index adds to that, in nanoseconds.
    pub search_offer_ns: u64,
    /// Reading and checking a fraud proof, its replay apart.
    pub judge: Duration,
}

/// What messages weigh, in bytes, frames included and the statements in them not, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighs {
    /// An announcement.
    pub announce: u64,
    /// The answer to one.
    pub announced: u64,
    /// A question.
    pub find: u64,
    /// A signed answer without offers.
    pub page: u64,
    /// What each offer adds to an answer beside its two statements.
    pub offer: u64,
    /// A registration, its ticket included.
    pub register: u64,
    /// The answer to one, without the peers it names.
    pub registered: u64,
    /// A renewal.
    pub renew: u64,
    /// The answer to one.
    pub renewed: u64,
    /// Asking for ads.
    pub get_ads: u64,
    /// The answer, without the ads and peers in it.
    pub ads: u64,
    /// A peer that an answer names.
    pub peer: u64,
    /// Asking for a chunk and getting it, without the chunk.
    pub prove: u64,
    /// A message of reconciliation, without what is reconciled.
    pub reconcile: u64,
    /// Asking for a statement by its id.
    pub statements: u64,
    /// An accusation.
    pub accuse: u64,
    /// A fraud proof without its component, as it is handed over.
    pub proof: u64,
    /// A call without its arguments; its invocation is in it.
    pub call: u64,
    /// The answer without the output; receipt and journal are in it.
    pub done: u64,
    /// The action's arguments.
    pub args: u64,
    /// The action's output.
    pub output: u64,
    /// The component.
    pub component: u64,
    /// Units of fuel that the action burns.
    pub fuel: u64,
}

/// Measures. Each thing is done `rounds` times, [`MIN_ROUNDS`] at least; `say` hears what is done next.
///
/// # Errors
/// The first thing that did not work.
pub async fn measure(
    homes: &Homes,
    subject: &Subject<'_>,
    rounds: usize,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Measured, MeasureError> {
    let rounds = rounds.max(MIN_ROUNDS);
    say("a message under way");
    let link = link::measure(rounds).await?;
    say("execution, replay and proofs");
    let work = calls::work(&homes.requester, subject, rounds)?;
    say("calls of a real provider");
    let call = calls::call(homes, subject, &work, rounds).await?;
    say("searches of an index");
    let (search, search_offer_ns) = index::measure(&homes.registry, subject, rounds)?;
    say("the bytes of messages");
    let (statements, weighs) = sizes::measure(homes, subject, &work, &call)?;
    let [sign, verify] = calls::signatures(&homes.requester, &statements.lease, rounds)?;
    let beside = call.took.saturating_sub(work.execute).saturating_sub(link.one_way.saturating_mul(2));
    let takes = Takes {
        sign,
        verify,
        // No provider signs a receipt in less than a signature takes.
        admit: beside.max(sign),
        execute: work.execute,
        execute_sigma: work.execute_sigma,
        replay: work.replay,
        search,
        search_offer_ns,
        judge: work.judge,
    };
    Ok(Measured { link, takes, weighs })
}

/// How long each of several turns of the same thing took.
#[derive(Debug, Default)]
struct Times(Vec<Duration>);

impl Times {
    /// Does it, and takes its time.
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = std::hint::black_box(work());
        self.0.push(began.elapsed());
        done
    }

    fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// The time that so many thousandths of all are below.
    fn quantile(&self, permille: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = sorted.len().saturating_sub(1).saturating_mul(permille) / 1_000;
        sorted.get(place).copied().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        self.quantile(500)
    }

    /// The standard deviation of the natural logarithm, read from the sixteenth and the eighty-fourth of a hundred: a machine
    /// that was busy once with something else does not show in it.
    fn sigma(&self) -> f64 {
        let (low, high) = (self.quantile(159).as_secs_f64(), self.quantile(841).as_secs_f64());
        if low > 0.0 { (high / low).ln() / 2.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads_leave_out_what_is_far_off() {
        // Of a log-normal distribution about 1 ms, the quantiles in their order.
        let sigma = 0.25_f64;
        let mut times = Times::default();
        for n in -300..=300_i32 {
            // The logistic curve lies close to the normal one, and gives each sample its share.
            let share = (f64::from(n) + 300.5) / 601.0;
            let normal = (share / (1.0 - share)).ln() / 1.702;
            times.push(Duration::from_secs_f64(0.001 * (sigma * normal).exp()));
        }
        for _ in 0..6 {
            times.push(Duration::from_secs(60));
        }
        let median = times.median().as_secs_f64();
        assert!((0.00099..0.00102).contains(&median), "{median}");
        assert!((0.22..0.29).contains(&times.sigma()), "{}", times.sigma());
        assert_eq!((Times::default().median(), Times::default().sigma()), (Duration::ZERO, 0.0));
    }
}

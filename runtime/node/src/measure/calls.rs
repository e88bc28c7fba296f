//! The action itself: executed, run again, lied about, and delegated to a real provider.

use super::{Homes, MeasureError, Subject, Times};
use crate::{
    Config,
    audit::{self, ReplayOptions},
    clock,
    config::OfferConfig,
    fraud::{self, Judged},
    home::Home,
    invoke::{self, Choices},
    node::Node,
    quota::{Quota, QuotaConfig},
    requester::{CallRequest, Called, Prepared, Requester},
};
use actum_model::{
    Action, Authority, Filters, FraudProof, Journal, Lease, Receipt, SecretKey, Signed, codec,
};
use actum_sandbox::{Execution, replay};
use actum_store::NewReceipt;
use std::time::{Duration, Instant};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long the provider may take to be found.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether it is.
const FOUND_POLL: Duration = Duration::from_millis(200);
/// Turns before those that count.
const WARM_UP: usize = 20;

/// An address on this machine, at a port that the system chooses.
pub(super) fn loopback() -> &'static str {
    "/ip4/127.0.0.1/tcp/0"
}

/// What came of running the action here.
pub(super) struct Work {
    pub(super) args: Vec<u8>,
    pub(super) execution: Execution,
    pub(super) execute: Duration,
    pub(super) execute_sigma: f64,
    pub(super) replay: Duration,
    pub(super) judge: Duration,
    /// A proof that somebody lied about it, without its component.
    pub(super) proof: Vec<u8>,
}

/// Executes the action, runs it again, and judges a lie about it.
pub(super) fn work(home: &Home, subject: &Subject<'_>, rounds: usize) -> Result<Work, MeasureError> {
    let sandbox = home.sandbox()?;
    let loaded = sandbox.load(subject.component)?;
    let function = subject.release.payload().function(subject.function);
    let function = function.map_err(|_| MeasureError::Unexpected("the release lacks the function"))?;
    let args = invoke::encode_args(function, subject.args, &mut |_| Err("no files here".to_owned()))?;
    let action = invoke::action(home.did(), *loaded.id(), function, &args, Choices::default());
    let execution = sandbox.execute(&loaded, &action, &args)?;
    let (now, profile) = (clock::now_secs(), sandbox.profile_id());
    // Somebody says that it took more fuel than it does.
    let liar = SecretKey::from_seed(&clock::random());
    let lied = Action { requester: liar.did(), ..action.clone() };
    let mut lie = execution.receipt(lied, liar.did(), now, Authority::Local, profile);
    lie.fuel = lie.fuel.saturating_add(1);
    let (lie, journal) = (Signed::sign(lie, &liar), execution.journal.bytes());
    home.store().put_component(subject.component)?;
    home.store().put_receipt(NewReceipt {
        receipt: &lie,
        args: &args,
        output: execution.output.as_deref(),
        journal: &journal,
        bodies: &execution.bodies,
        stdio: execution.stdio_block().as_ref().map(|(_, bytes)| bytes.as_slice()),
        invocation: None,
    })?;
    audit::replay(home, &lie.id().to_string(), ReplayOptions::default())?;
    let proof = fraud::proof(home, &lie.id().to_string())?.to_bytes(false);
    let truth = execution.receipt(action.clone(), home.did(), now, Authority::Local, profile);
    let (mut executes, mut replays, mut judges) = (Times::default(), Times::default(), Times::default());
    for turn in 0..rounds.saturating_add(WARM_UP) {
        let executed = executes.time(|| sandbox.execute(&loaded, &action, &args));
        executed?;
        let replayed = replays.time(|| replayed(home, subject, &truth, &args, &execution));
        replayed?;
        let judged = judges.time(|| {
            let read = FraudProof::from_bytes(&proof);
            let read = read.map_err(|_| MeasureError::Unexpected("a proof made here cannot be read"))?;
            Ok::<_, MeasureError>(fraud::judge(sandbox, &read.bundle, subject.component))
        });
        if !matches!(judged?, Judged::Proven(_)) {
            return Err(MeasureError::Unexpected("a proof made here proves nothing"));
        }
        if turn < WARM_UP {
            (executes, replays, judges) = (Times::default(), Times::default(), Times::default());
        }
    }
    Ok(Work {
        execute: executes.median(),
        execute_sigma: executes.sigma(),
        replay: replays.median(),
        judge: judges.median().saturating_sub(replays.median()),
        args,
        execution,
        proof,
    })
}

/// Runs it again as whoever checks an answer does.
fn replayed(
    home: &Home,
    subject: &Subject<'_>,
    receipt: &Receipt,
    args: &[u8],
    execution: &Execution,
) -> Result<(), MeasureError> {
    let unreadable = |_| MeasureError::Unexpected("a journal made here cannot be read");
    let bytes = execution.journal.bytes();
    let journal: Journal = codec::decode(&bytes, Journal::MAX_BYTES).map_err(unreadable)?;
    let stdio = execution.stdio_block();
    let evidence = replay::Evidence {
        receipt,
        component: subject.component,
        args,
        output: execution.output.as_deref(),
        journal: &journal,
        bodies: &execution.bodies,
        stdio: stdio.as_ref().map(|(_, bytes)| bytes.as_slice()),
    };
    match replay::replay(home.sandbox()?, &evidence)? {
        actum_model::Judgement::Identical => Ok(()),
        _ => Err(MeasureError::Unexpected("the action does not end alike twice: it is not deterministic")),
    }
}

/// How long signing and verifying a lease take.
pub(super) fn signatures(
    home: &Home,
    lease: &Signed<Lease>,
    rounds: usize,
) -> Result<[Duration; 2], MeasureError> {
    let (key, payload) = (home.key()?, lease.payload());
    let (mut signs, mut verifies) = (Times::default(), Times::default());
    for _ in 0..rounds {
        let payload = payload.clone();
        signs.time(|| Signed::sign(payload, key));
        let verified = verifies.time(|| Signed::<Lease>::verify(lease.bytes()));
        verified.map_err(|_| MeasureError::Unexpected("a lease signed here is not signed"))?;
    }
    Ok([signs.median(), verifies.median()])
}

/// What came of delegating the action.
pub(super) struct Delegated {
    /// How long it took whoever asked, from the question to the checked receipt.
    pub(super) took: Duration,
    /// The last answer.
    pub(super) called: Called,
}

/// Delegates the action to a real provider that a real registry names.
pub(super) async fn call(
    homes: &Homes,
    subject: &Subject<'_>,
    work: &Work,
    rounds: usize,
) -> Result<Delegated, MeasureError> {
    let listen = vec![loopback().to_owned()];
    let config = Config { listen: listen.clone(), registry: true, ..Config::default() };
    let registry = Node::start(homes.registry.clone(), config, None).await?;
    let most = Quota { in_flight: None, fuel_per_minute: Some(u64::MAX), bytes_per_minute: Some(u64::MAX) };
    let offer = OfferConfig {
        release: subject.release.id().to_string(),
        public: true,
        callers: Vec::new(),
        allow: Vec::new(),
        price: 0,
    };
    let config = Config {
        listen,
        bootstrap: registry.addresses(),
        offers: vec![offer],
        quota: QuotaConfig { per_requester: most, total: most },
        ..Config::default()
    };
    let provider = Node::start(homes.provider.clone(), config, None).await?;
    let requester = Requester::start(homes.requester.clone(), &registry.addresses(), &[]).await?;
    let prepared = prepared(&requester, subject).await?;
    // On a worker thread, where nodes ask: elsewhere every answer would come over one more hop.
    let asked = tokio::spawn(ask(requester, prepared, work.args.clone(), rounds)).await;
    let delegated = asked.map_err(|_| MeasureError::Unexpected("calling came to no end"))?;
    provider.stop().await;
    registry.stop().await;
    delegated
}

/// Calls again and again, and leaves.
async fn ask(
    requester: Requester,
    prepared: Prepared,
    args: Vec<u8>,
    rounds: usize,
) -> Result<Delegated, MeasureError> {
    let (mut times, mut last) = (Times::default(), None);
    for turn in 0..rounds.saturating_add(WARM_UP) {
        let request = CallRequest { args: args.clone(), choices: Choices::default(), deadline: DEADLINE };
        let prepared = prepared.clone();
        let began = Instant::now();
        let called = requester.call(prepared, request, &mut |_| {}).await?;
        if turn >= WARM_UP {
            times.push(began.elapsed());
        }
        last = Some(called);
    }
    requester.stop().await?;
    let called = last.ok_or(MeasureError::Unexpected("nothing was called"))?;
    Ok(Delegated { took: times.median(), called })
}

/// Waits until the provider is found.
async fn prepared(requester: &Requester, subject: &Subject<'_>) -> Result<Prepared, MeasureError> {
    let name = subject.release.payload().name.to_string();
    let until = Instant::now() + FOUND_WITHIN;
    loop {
        match requester.candidates(&name, &Filters::default()).await {
            Ok(found) => return Ok(requester.prepare(&found, subject.function).await?),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => tokio::time::sleep(FOUND_POLL).await,
        }
    }
}

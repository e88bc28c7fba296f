//! What carries messages, measured between two overlays of this process, over TCP on loopback.

use super::{Link, MeasureError, Times};
use crate::clock;
use actum_model::{Did, SecretKey};
use actum_overlay::{
    BoxFuture, Handler, Multiaddr, Overlay, OverlayConfig, Place, ProgressSender, Refusal, RefusalCode,
    Request, Response, SessionHandle,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of a large message: 4 MiB.
const LARGE: usize = 4 << 20;
/// Large messages in a hundred small ones.
const LARGE_PERCENT: usize = 20;
/// Turns before those that count.
const WARM_UP: usize = 20;

/// Answers without a thought.
struct Refuses;

impl Handler for Refuses {
    fn handle(
        &self,
        _: Did,
        _: Request,
        _: SessionHandle,
        _: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        Box::pin(async { Response::from(Refusal::new(RefusalCode::NotOffered, "this peer only refuses")) })
    }
}

pub(super) async fn measure(rounds: usize) -> Result<Link, MeasureError> {
    let key = || SecretKey::from_seed(&clock::random());
    let listen = super::calls::loopback().parse::<Multiaddr>();
    let listen = listen.map_err(|_| MeasureError::Unexpected("loopback has no address"))?;
    let config = OverlayConfig { listen: vec![listen], ..OverlayConfig::default() };
    let answers = Overlay::start(config, &key(), Arc::new(Refuses)).await?;
    let asks = Overlay::start(OverlayConfig::client(), &key(), Arc::new(Refuses)).await?;
    let address = answers.addresses().into_iter().next();
    let address = address.ok_or(MeasureError::Unexpected("a peer on loopback has no address"))?;
    let peer = asks.connect(&address.to_string()).await?;
    let session = asks.session_with(&peer).ok_or(MeasureError::Unexpected("a session was lost at once"))?;
    // On a worker thread, where nodes ask: elsewhere every answer would come over one more hop.
    let asked = tokio::spawn(ask(session, rounds)).await;
    let (smalls, larges) = asked.map_err(|_| MeasureError::Unexpected("asking came to no end"))??;
    asks.shutdown().await;
    answers.shutdown().await;
    let moving = larges.median().saturating_sub(smalls.median()).as_secs_f64().max(1e-6);
    Ok(Link {
        one_way: smalls.median() / 2,
        // Two ways that vary alike vary less together.
        sigma: smalls.sigma() * std::f64::consts::SQRT_2,
        bytes_per_second: (LARGE as f64 / moving) as u64,
    })
}

/// How long small questions and large ones take.
async fn ask(session: SessionHandle, rounds: usize) -> Result<(Times, Times), MeasureError> {
    let small = Request::Notices { after: Place::default() };
    let large = Request::Call { invocation: Vec::new(), proofs: Vec::new(), args: vec![7; LARGE] };
    let (mut smalls, mut larges) = (Times::default(), Times::default());
    for turn in 0..rounds.saturating_add(WARM_UP) {
        let began = Instant::now();
        session.request(&small, DEADLINE).await?;
        if turn >= WARM_UP {
            smalls.push(began.elapsed());
        }
    }
    for turn in 0..=rounds.saturating_mul(LARGE_PERCENT) / 100 {
        let began = Instant::now();
        session.request(&large, DEADLINE).await?;
        if turn > 0 {
            larges.push(began.elapsed());
        }
    }
    Ok((smalls, larges))
}

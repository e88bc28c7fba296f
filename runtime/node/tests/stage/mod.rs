//! What the tests of lost connections share: real nodes and requesters, an executor that can be held up and counts, and a
//! TCP proxy that can cut, hold back and slow down.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use actum_capabilities::guests::ECHO;
use actum_model::{Action, Filters, Release, Signed, Value, value::encode_params};
use actum_node::{
    Config, Home,
    config::OfferConfig,
    invoke::Choices,
    node::Node,
    provider::{ExecuteError, Execution, Executor, Loaded, Sandbox, Surroundings},
    publish::{Described, publish},
    quota::{Quota, QuotaConfig},
    requester::{CallError, CallProgress, CallRequest, Called, Found, Prepared, Requester},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Longer than anything here takes, on a machine that is busy with something else too.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Longer than any test waits: until it is let go, or cancelled.
pub(crate) const HELD: Duration = Duration::from_secs(120);

/// Executes in the sandbox, not before `held` is over or it is let go, and writes down each execution.
pub(crate) struct Slow {
    pub(crate) held: Duration,
    pub(crate) let_go: AtomicBool,
    pub(crate) executions: Arc<AtomicUsize>,
    pub(crate) cancelled: Arc<AtomicUsize>,
    /// A file that gets a byte for each, to be seen by other processes.
    pub(crate) tally: Option<PathBuf>,
}

impl Slow {
    pub(crate) fn of(held: Duration) -> Arc<Self> {
        Arc::new(Self {
            held,
            let_go: AtomicBool::new(false),
            executions: Arc::default(),
            cancelled: Arc::default(),
            tally: None,
        })
    }

    /// Holds nothing up any more.
    pub(crate) fn let_go(&self) {
        self.let_go.store(true, SeqCst);
    }
}

impl Executor for Slow {
    fn execute(
        &self,
        sandbox: &Sandbox,
        loaded: &Loaded,
        action: &Action,
        args: &[u8],
        around: &Surroundings,
    ) -> Result<Execution, ExecuteError> {
        self.executions.fetch_add(1, SeqCst);
        if let Some(tally) = &self.tally {
            let mut file = std::fs::File::options().create(true).append(true).open(tally).unwrap();
            std::io::Write::write_all(&mut file, b"x").unwrap();
        }
        let until = Instant::now() + self.held;
        while !self.let_go.load(SeqCst) && Instant::now() < until {
            if around.cancel.is_cancelled() {
                self.cancelled.fetch_add(1, SeqCst);
                return Err(ExecuteError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        sandbox.execute_in(loaded, action, args, around)
    }
}

/// Publishes the echo guest, `padding` bytes longer than it is.
pub(crate) fn publish_echo(home: &Home, padding: usize) -> Signed<Release> {
    let mut component = ECHO.component.to_vec();
    if padding > 0 {
        // A custom section: id 0, its size in five bytes, and an empty name.
        component.push(0);
        let mut size = u32::try_from(padding + 1).unwrap();
        for last in [false, false, false, false, true] {
            component.push((size & 0x7f) as u8 | if last { 0 } else { 0x80 });
            size >>= 7;
        }
        component.push(0);
        component.extend((0..padding).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8));
    }
    let path = home.root().join("echo.wasm");
    std::fs::write(&path, component).unwrap();
    let described = Described {
        name: Some("echo".to_owned()),
        intent: Some("Give back what is given".to_owned()),
        interfaces: vec!["test:echo/echo@0.1.0".to_owned()],
        ..Described::default()
    };
    publish(home, &path, described).unwrap()
}

/// A node that offers echo to everybody, at a port or any.
pub(crate) async fn provider(home: Arc<Home>, port: u16, executor: Option<Arc<dyn Executor>>) -> Node {
    let release = publish_echo(&home, 0);
    offering(home, &release, port, executor).await
}

pub(crate) async fn offering(
    home: Arc<Home>,
    release: &Signed<Release>,
    port: u16,
    executor: Option<Arc<dyn Executor>>,
) -> Node {
    let plenty =
        Quota { in_flight: Some(64), fuel_per_minute: Some(u64::MAX), bytes_per_minute: Some(u64::MAX) };
    let config = Config {
        listen: vec![format!("/ip4/127.0.0.1/tcp/{port}")],
        offers: vec![OfferConfig {
            release: release.id().to_string(),
            public: true,
            callers: Vec::new(),
            allow: Vec::new(),
            price: 0,
        }],
        queue: 64,
        quota: QuotaConfig { per_requester: plenty, total: Quota { in_flight: None, ..plenty } },
        ..Config::default()
    };
    Node::start(home, config, executor).await.unwrap()
}

/// The port a node listens on.
pub(crate) fn port_of(address: &str) -> u16 {
    address.split('/').nth(4).unwrap().parse().unwrap()
}

/// A free port that nobody is given who asks for any: those lie above. So it is free again when a node that was killed comes
/// back to it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test programs that run side by side begin far from one another.
    let first = (std::process::id().wrapping_mul(7_919) % 20_000) as u16;
    let port = || 10_000 + (first + NEXT.fetch_add(1, SeqCst) % 1_000) % 20_000;
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(port).take(1_000).find(free).unwrap()
}

pub(crate) fn home(dir: &Path, name: &str) -> Arc<Home> {
    Arc::new(Home::open(&dir.join(name)).unwrap())
}

/// A requester that reached the peers at these addresses, and a call of echo made ready.
pub(crate) async fn ready(home: &Arc<Home>, addresses: &[String]) -> (Requester, Prepared) {
    let requester = Requester::start(home.clone(), addresses, &[]).await.unwrap();
    let candidates = candidates(&requester, addresses.len()).await;
    let prepared = requester.prepare(&candidates, "echo").await.unwrap();
    (requester, prepared)
}

/// So many that offer echo. One that was too slow to answer is asked again.
pub(crate) async fn candidates(requester: &Requester, offers: usize) -> Vec<Found> {
    let began = Instant::now();
    loop {
        match requester.candidates("echo", &Filters::default()).await {
            Ok(found) if found.len() == offers => return found,
            Ok(found) => assert!(began.elapsed() < LONG, "{} of {offers} offers", found.len()),
            Err(e) => assert!(began.elapsed() < LONG, "{e}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Calls echo with the text; tells what it heard.
pub(crate) async fn call(
    requester: &Requester,
    prepared: &Prepared,
    text: &str,
    deadline: Duration,
) -> (Result<Called, CallError>, Vec<String>) {
    call_hearing(requester, prepared, text, deadline, |_| {}).await
}

/// The same; `hears` is shown all that was heard whenever something is.
pub(crate) async fn call_hearing(
    requester: &Requester,
    prepared: &Prepared,
    text: &str,
    deadline: Duration,
    mut hears: impl FnMut(&[String]) + Send,
) -> (Result<Called, CallError>, Vec<String>) {
    let args = encode_params(&prepared.function.params, &[Value::Bytes(text.as_bytes().to_vec())]).unwrap();
    let mut heard = Vec::new();
    let request = CallRequest { args, choices: Choices::default(), deadline };
    let mut progress = |event: CallProgress| {
        heard.push(format!("{event:?}"));
        hears(&heard);
    };
    let called = requester.call(prepared.clone(), request, &mut progress).await;
    (called, heard)
}

/// Whether the output of a call is the text it was given.
pub(crate) fn echoed(called: &Called, text: &str) -> bool {
    called.output.as_deref().is_some_and(|output| output.ends_with(text.as_bytes()))
}

/// A TCP proxy in front of a node.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    to: String,
    /// How many cuts there were. Each connection sees those made since it came, be it late.
    cut: watch::Sender<u64>,
    /// What goes to the node, and what comes from it, stays here.
    hold_up: AtomicBool,
    hold_down: AtomicBool,
    /// Only the requester's side is cut; the node's stays open.
    half: AtomicBool,
    bytes_held: AtomicU64,
    bytes_down: AtomicU64,
    /// About how many bytes come from the node before the others have to wait.
    most_down: AtomicU64,
}

impl Proxy {
    pub(crate) async fn before(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            to: address.to_owned(),
            cut: watch::Sender::new(0),
            hold_up: AtomicBool::new(false),
            hold_down: AtomicBool::new(false),
            half: AtomicBool::new(false),
            bytes_held: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            most_down: AtomicU64::new(u64::MAX),
        });
        let proxy = inner.clone();
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                tokio::spawn(proxy.clone().carry(here, proxy.cut.subscribe()));
            }
        });
        Self(inner)
    }

    /// The node's address, by way of here.
    pub(crate) fn address(&self) -> String {
        let peer = self.0.to.rsplit('/').next().unwrap();
        format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", self.0.address.port())
    }

    /// Ends every connection there is.
    pub(crate) fn cut(&self) {
        self.0.cut.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn hold_up(&self) {
        self.0.hold_up.store(true, SeqCst);
    }

    pub(crate) fn hold_down(&self) {
        self.0.hold_down.store(true, SeqCst);
    }

    /// The next cut ends the requester's side only; what it had sent still goes to the node once it is let go.
    pub(crate) fn cut_half(&self) {
        self.0.half.store(true, SeqCst);
        self.cut();
    }

    /// Lets go what was held back of what goes to the node, and holds nothing back any more.
    pub(crate) fn release(&self) {
        self.0.hold_up.store(false, SeqCst);
        self.0.hold_down.store(false, SeqCst);
    }

    /// Has all wait that comes from the node once so many bytes came.
    pub(crate) fn hold_down_after(&self, bytes: u64) {
        self.0.most_down.store(bytes, SeqCst);
    }

    /// Bytes to the node that stayed here.
    pub(crate) fn bytes_held(&self) -> u64 {
        self.0.bytes_held.load(SeqCst)
    }

    pub(crate) fn bytes_down(&self) -> u64 {
        self.0.bytes_down.load(SeqCst)
    }
}

impl Inner {
    async fn carry(self: Arc<Self>, mut here: TcpStream, mut cut: watch::Receiver<u64>) {
        let Ok(mut there) = TcpStream::connect(("127.0.0.1", port_of(&self.to))).await else { return };
        let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut held = Vec::new();
        loop {
            let waits = self.bytes_down.load(SeqCst) >= self.most_down.load(SeqCst);
            tokio::select! {
                biased;
                _ = cut.changed() => break,
                n = here.read(&mut up) => match n {
                    Ok(0) | Err(_) => return,
                    Ok(n) if self.hold_up.load(SeqCst) => {
                        held.extend_from_slice(&up[..n]);
                        self.bytes_held.fetch_add(n as u64, SeqCst);
                    }
                    Ok(n) => if there.write_all(&up[..n]).await.is_err() { return },
                },
                () = tokio::time::sleep(Duration::from_millis(5)), if waits => {}
                n = there.read(&mut down), if !waits => match n {
                    Ok(0) | Err(_) => return,
                    Ok(_) if self.hold_down.load(SeqCst) => {}
                    Ok(n) => {
                        self.bytes_down.fetch_add(n as u64, SeqCst);
                        if here.write_all(&down[..n]).await.is_err() { return }
                    }
                },
            }
        }
        drop(here);
        if self.half.load(SeqCst) {
            while self.hold_up.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let _ = there.write_all(&held).await;
            // Until the node itself ends it.
            while there.read(&mut down).await.is_ok_and(|n| n > 0) {}
        }
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < LONG, "not within {LONG:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

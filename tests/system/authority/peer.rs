//! A peer that speaks the wire by itself, with any key, and says what no honest command would.

use crate::harness::{Node, Stage};
use actum_model::{
    Claim, Delegation, Did, Function, Invocation, Receipt, Release, SecretKey, Signed,
    run::RunArgs,
    ucan::{Policy, Proof, policy::Statement},
};
use actum_node::{
    Home, clock,
    invoke::{self, Choices},
};
use actum_overlay::{
    BoxFuture, Handler, Notice, Overlay, OverlayConfig, ProgressSender, Refusal, Request, RequestError,
    Response, SessionHandle,
};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

/// How long a node may take over anything asked here.
const DEADLINE: Duration = Duration::from_secs(30);

struct Deaf;

impl Handler for Deaf {
    fn handle(
        &self,
        _: Did,
        _: Request,
        _: SessionHandle,
        _: ProgressSender,
    ) -> BoxFuture<'static, Response> {
        Box::pin(std::future::pending())
    }
}

/// The key of a number.
pub(super) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// A peer with a key of its own.
pub(super) struct Peer {
    pub(super) key: SecretKey,
    overlay: Overlay,
    runtime: tokio::runtime::Runtime,
}

impl Peer {
    pub(super) fn new(key: SecretKey) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let start = Overlay::start(OverlayConfig::client(), &key, Arc::new(Deaf));
        let overlay = runtime.block_on(start).expect("it starts");
        Self { key, overlay, runtime }
    }

    pub(super) fn did(&self) -> Did {
        self.key.did()
    }

    fn try_request(&self, node: &Node, request: &Request) -> Result<Response, RequestError> {
        self.runtime.block_on(async {
            let peer = self.overlay.connect(node.address("tcp")).await.expect("it connects");
            self.overlay.request(&peer, request, DEADLINE).await
        })
    }

    fn request(&self, node: &Node, request: &Request) -> Response {
        self.try_request(node, request).expect("an answer")
    }

    /// Sends an invocation as it is, with these proofs.
    pub(super) fn send(&self, node: &Node, wire: &Wire, invocation: &[u8], proofs: &[Proof]) -> Response {
        let proofs = proofs.iter().map(|p| p.bytes().to_vec()).collect();
        self.try_send(node, wire, invocation, proofs).expect("an answer")
    }

    /// The same with proofs that may be none.
    pub(super) fn try_send(
        &self,
        node: &Node,
        wire: &Wire,
        invocation: &[u8],
        proofs: Vec<Vec<u8>>,
    ) -> Result<Response, RequestError> {
        let proofs = proofs.into_iter().map(Into::into).collect();
        let (invocation, args) = (invocation.to_vec(), wire.args.clone());
        self.try_request(node, &Request::Call { invocation, proofs, args })
    }

    /// Asks by this chain with other arguments than were signed.
    pub(super) fn asks_with(&self, node: &Node, wire: &Wire, args: &[u8], chain: &[Proof]) -> Response {
        let invocation = Signed::sign(wire.invocation(self.did(), chain), &self.key).bytes().to_vec();
        let proofs = chain.iter().map(|p| p.bytes().to_vec().into()).collect();
        self.request(node, &Request::Call { invocation, proofs, args: args.to_vec() })
    }

    /// Asks for what `wire` calls by this chain.
    pub(super) fn asks(&self, node: &Node, wire: &Wire, chain: &[Proof]) -> Response {
        let invocation = wire.invocation(self.did(), chain);
        self.send(node, wire, Signed::sign(invocation, &self.key).bytes(), chain)
    }

    /// Passes a notice on; how many were news, and why any was refused.
    pub(super) fn notifies(&self, node: &Node, notice: Notice) -> (u32, Vec<String>) {
        match self.request(node, &Request::Notify { notices: vec![notice] }) {
            Response::Notified { news, refused } => (news, refused),
            other => panic!("{other:?}"),
        }
    }
}

/// A call of something that a node offers, ready to be asked for in any way.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) provider: Did,
    pub(super) release: Release,
    function: Function,
    pub(super) args: Vec<u8>,
    pub(super) choices: Choices,
}

impl Wire {
    /// The call of a function of a release in a home, of the node of that home.
    pub(super) fn new(
        stage: &Stage,
        home: &str,
        release: &str,
        function: &str,
        args: &serde_json::Value,
    ) -> Self {
        let home = Home::open(&stage.path().join(home)).expect("a home");
        let release = home.store().release(&release.parse().expect("an id")).expect("a store");
        let release = release.expect("the release").payload().clone();
        let function = release.function(function).expect("the function").clone();
        let args =
            invoke::encode_args(&function, args, &mut |_| Err("no files".to_owned())).expect("they fit");
        Self { provider: home.did(), release, function, args, choices: Choices::default() }
    }

    /// The same with another ceiling of fuel.
    pub(super) fn with_fuel(&self, fuel: u64) -> Self {
        let mut wire = self.clone();
        wire.choices.limits.fuel = fuel;
        wire
    }

    /// The same with other arguments.
    pub(super) fn with_args(&self, args: &serde_json::Value) -> Self {
        let args = invoke::encode_args(&self.function, args, &mut |_| Err("no files".to_owned()));
        Self { args: args.expect("they fit"), ..self.clone() }
    }

    /// The invocation that an honest command would make, by this chain: in the name of who issued its root.
    pub(super) fn invocation(&self, by: Did, chain: &[Proof]) -> Invocation {
        let subject = chain.first().map_or(self.provider, |root| root.iss);
        let prf = chain.iter().map(|p| *p.id()).collect();
        let (now, component) = (clock::now_secs(), self.release.component);
        let action = invoke::action(by, component, &self.function, &self.args, self.choices.clone());
        RunArgs::invocation(&action, &Claim::of(&self.release), self.provider, subject, prf, now + 60, now)
    }
}

/// When every delegation of a run expires. Read once: a link made a second after the one above it would widen it.
static EXPIRES: LazyLock<u64> = LazyLock::new(|| clock::now_secs() + 3_600);

/// A delegation of `/actum/run`, of everything, for an hour.
pub(super) fn delegation(from: &SecretKey, to: Did, sub: Option<Did>) -> Delegation {
    Delegation {
        iss: from.did(),
        aud: to,
        sub,
        cmd: RunArgs::command(),
        pol: Policy::default(),
        nonce: clock::random::<12>().to_vec().into(),
        meta: None,
        nbf: None,
        exp: Some(*EXPIRES),
    }
}

pub(super) fn sign(delegation: Delegation, key: &SecretKey) -> Proof {
    Proof::from(Signed::sign(delegation, key))
}

/// A delegation of everything in the name of `sub`.
pub(super) fn grant(from: &SecretKey, to: Did, sub: Did) -> Proof {
    sign(delegation(from, to, Some(sub)), from)
}

/// The same with a policy.
pub(super) fn bounded(from: &SecretKey, to: Did, sub: Did, statements: Vec<Statement>) -> Proof {
    sign(Delegation { pol: Policy::new(statements), ..delegation(from, to, Some(sub)) }, from)
}

#[track_caller]
pub(super) fn refusal(response: Response) -> Refusal {
    match response {
        Response::Refused { refusal } => refusal,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Asserts that it was refused so.
#[track_caller]
pub(super) fn refused(response: Response, code: &str, says: &str) -> Refusal {
    let refusal = refusal(response);
    assert_eq!(refusal.code.name(), code, "{refusal}");
    assert!(refusal.message.contains(says), "{says:?} is not in {refusal}");
    refusal
}

/// The receipt of what ran.
#[track_caller]
pub(super) fn ran(response: Response) -> Signed<Receipt> {
    match response {
        Response::Done { receipt, .. } => Signed::verify(&receipt).expect("a receipt"),
        other => panic!("it did not run: {other:?}"),
    }
}

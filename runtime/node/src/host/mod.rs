//! The real world behind one action: what the sandbox found granted, done.
//!
//! Authority is decided before this is asked: by the provider, which admits no permission its owner does not allow, and
//! by the sandbox, which asks for nothing the action does not carry. Here is only the effect.

mod delegate;
pub mod http;
mod keyvalue;

use crate::{authority::Tenure, home::Home};
use actum_model::{Action, ActionId, BlobId, Did, Granted, Release, SecretKey, Withdrawal};
use actum_sandbox::{
    Sandbox,
    host::{DelegateAsk, DelegateTold, Host, HttpRequest, KeyvalueAsk, KeyvalueTold, Landing},
};
use actum_store::Store;
use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The host of one action, in one home.
pub struct NodeHost {
    store: Store,
    sandbox: Sandbox,
    did: Did,
    /// None while the home is locked: then no receipt of a call can be signed, and calls fail.
    key: Option<SecretKey>,
    /// The action, with the permissions it was given.
    action: Action,
    id: ActionId,
    /// What buckets are kept under.
    capability: String,
    /// Fuel that the calls of this action burned, with all they called.
    delegated: AtomicU64,
    /// For how long it may ask for anything; none where that does not end.
    tenure: Option<Tenure>,
}

impl NodeHost {
    /// The host of an action, executed in this sandbox. `release` is the one it is called by, where there is one.
    pub(crate) fn new(
        home: &Home,
        sandbox: &Sandbox,
        action: &Action,
        release: Option<&Release>,
        withheld: &BTreeSet<Granted>,
        tenure: Option<Tenure>,
    ) -> Self {
        // What it was not given, it cannot pass on either.
        let mut given = action.clone();
        given.permissions.retain(|granted| !withheld.contains(granted));
        Self {
            store: home.store().clone(),
            sandbox: sandbox.clone(),
            did: home.did(),
            key: home.key().ok().cloned(),
            id: action.id(),
            action: given,
            capability: release.map_or_else(|| action.component.to_string(), capability),
            delegated: AtomicU64::new(0),
            tenure,
        }
    }

    /// The host of an action that the home's owner runs here.
    pub fn of_owner(home: &Home, sandbox: &Sandbox, action: &Action, release: Option<&Release>) -> Self {
        Self::new(home, sandbox, action, release, &BTreeSet::new(), None)
    }

    /// Fuel that the calls of this action burned so far, with all they called.
    pub(crate) fn delegated(&self) -> u64 {
        self.delegated.load(Ordering::Relaxed)
    }

    /// As [`Self::of_owner`], where the action is granted anything; else a host of nothing.
    pub(crate) fn behind(
        home: &Home,
        sandbox: &Sandbox,
        action: &Action,
        release: Option<&Release>,
    ) -> Arc<dyn Host> {
        if action.permissions.is_empty() {
            return Arc::new(actum_sandbox::NoHost);
        }
        Arc::new(Self::of_owner(home, sandbox, action, release))
    }

    /// Who this node is.
    fn did(&self) -> Did {
        self.did
    }
}

/// What a release is called among buckets: its versions share them, another author's release of that name does not.
fn capability(release: &Release) -> String {
    format!("{} by {}", release.name, release.iss)
}

impl Host for NodeHost {
    fn withdrawn(&self) -> Option<Withdrawal> {
        self.tenure.as_ref().and_then(Tenure::ended)
    }

    fn http(&self, request: HttpRequest, landing: Landing) {
        http::start(self.action.requester, request, landing);
    }

    fn keyvalue(&self, bucket: &str, ask: KeyvalueAsk) -> Result<KeyvalueTold, String> {
        self.bucket(bucket, ask)
    }

    fn block(&self, id: &BlobId, max_bytes: u64) -> Result<Vec<u8>, String> {
        // Only of a tree that was granted, which a provider's owner allows by its id: a stranger's action cannot name
        // another's arguments or outputs as its tree.
        match self.store.get(id) {
            Ok(Some(bytes)) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) <= max_bytes => Ok(bytes),
            Ok(Some(_)) => Err(format!("{id} has more than {max_bytes} bytes")),
            Ok(None) => Err(format!("{id} is not here")),
            Err(error) => {
                tracing::error!(%id, %error, "a block could not be read");
                Err(format!("{id} could not be read"))
            }
        }
    }

    fn delegate(&self, ask: DelegateAsk<'_>) -> DelegateTold {
        let (told, fuel) = self.call(ask);
        self.delegated.fetch_add(fuel, Ordering::Relaxed);
        told
    }
}

impl fmt::Debug for NodeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHost").field("action", &self.id).finish_non_exhaustive()
    }
}

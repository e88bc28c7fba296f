//! The real world as one action's guest sees it: host interfaces, each there only if granted, every answer on the tape.
//!
//! Authority is decided here, from the action's permissions alone and before any effect; effects are the embedder's
//! [`Host`]. One rule orders everything: what the guest observes is journalled when it observes it, never when it happened.

mod config;
pub(crate) mod delegate;
pub(crate) mod files;
pub(crate) mod flights;
pub(crate) mod http;
pub(crate) mod keyvalue;
mod tape;

pub use delegate::delegated_receipts;
pub use tape::Strayed;
pub(crate) use tape::{Recording, Source, Tape};

use crate::error::Stop;
use crate::execute::CancelToken;
use crate::host::{Airfield, Host};
use crate::world::State;
use actum_model::{Granted, Permission};
use flights::Flights;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{HasData, Linker, ResourceTable};

/// The interfaces' types, from `wit/host`.
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/host",
        world: "actum:host/host",
        imports: { default: trappable },
        with: {
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:io": wasmtime_wasi::p2::bindings::sync::io,
            "wasi:http/types.fields": super::http::Fields,
            "wasi:http/types.future-incoming-response": super::http::FutureIncomingResponse,
            "wasi:http/types.future-trailers": super::http::FutureTrailers,
            "wasi:http/types.incoming-body": super::http::IncomingBody,
            "wasi:http/types.incoming-request": super::http::Never,
            "wasi:http/types.incoming-response": super::http::IncomingResponse,
            "wasi:http/types.outgoing-body": super::http::OutgoingBody,
            "wasi:http/types.outgoing-request": super::http::OutgoingRequest,
            "wasi:http/types.outgoing-response": super::http::Never,
            "wasi:http/types.request-options": super::http::RequestOptions,
            "wasi:http/types.response-outparam": super::http::Never,
            "wasi:keyvalue/store.bucket": super::keyvalue::Bucket,
        },
        require_store_data_send: true,
    });
}

/// When waiting for the real world must end.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) deadline: Instant,
    pub(crate) cancel: CancelToken,
}

/// How often a wait looks whether it was cancelled, or its authority has ended.
const GLANCE: Duration = Duration::from_millis(20);

impl Watch {
    pub(crate) fn check(&self) -> wasmtime::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled.into());
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::TimedOut.into());
        }
        Ok(())
    }
}

/// One action's share of the real world.
pub(crate) struct Real {
    pub(crate) granted: BTreeSet<Granted>,
    pub(crate) tape: Tape,
    pub(crate) flights: Arc<Flights>,
    /// Blocks of the tree of files touched so far.
    blocks: files::Blocks,
    host: Arc<dyn Host>,
    airfield: Arc<Airfield>,
    pub(crate) watch: Watch,
    /// HTTP requests accepted so far.
    requests: u64,
    /// What was written into HTTP requests so far.
    written: http::Written,
    /// Delegated calls made so far.
    calls: u64,
    /// Fuel that delegated calls have used, by target.
    delegated: BTreeMap<String, u64>,
}

impl Real {
    pub(crate) fn new(granted: BTreeSet<Granted>, tape: Tape, host: Arc<dyn Host>, watch: Watch) -> Self {
        Self {
            granted,
            written: http::Written::new(tape.limit()),
            tape,
            flights: Arc::default(),
            blocks: files::Blocks::default(),
            host,
            airfield: Arc::default(),
            watch,
            requests: 0,
            calls: 0,
            delegated: BTreeMap::new(),
        }
    }

    /// Which of these requests have an answer, as the guest now observes it. Waits for one, if `wait`, at most so long.
    pub(crate) fn land(
        &mut self,
        waited: &[u64],
        wait: bool,
        at_most: Option<Duration>,
    ) -> wasmtime::Result<Vec<u64>> {
        let (field, watch, host) = (&self.airfield, &self.watch, &self.host);
        // Each number is at most nine bytes, and none is told that was not asked for.
        let most = u64::try_from(waited.len()).unwrap_or(u64::MAX).saturating_mul(9).saturating_add(9);
        let landed: Vec<u64> = self.tape.ask_within(most, "wasi:io/poll#poll", &(waited, wait), |_| {
            let until = at_most.and_then(|at_most| Instant::now().checked_add(at_most));
            loop {
                if let Some(why) = host.withdrawn() {
                    return Err(Stop::Withdrawn(why).into());
                }
                let ready = field.ready(waited);
                let over = until.is_some_and(|until| Instant::now() >= until);
                if !ready.is_empty() || !wait || over {
                    return Ok(ready);
                }
                watch.check()?;
                let left = until.map_or(GLANCE, |u| u.saturating_duration_since(Instant::now()));
                field.wait(waited, left.min(GLANCE));
            }
        })?;
        let nothing = landed.is_empty() && wait && at_most.is_none();
        if nothing || !landed.iter().all(|n| waited.contains(n)) {
            return Err(self.tape.refuse("no wait ends so".to_owned()));
        }
        self.flights.land(&landed);
        Ok(landed)
    }
}

/// The host interfaces of one action.
pub(crate) struct RealView<'a> {
    pub(crate) real: &'a mut Real,
    pub(crate) table: &'a mut ResourceTable,
}

/// Names [`RealView`] to the linker.
pub(crate) struct HasReal;

impl HasData for HasReal {
    type Data<'a> = RealView<'a>;
}

type Link = fn(&mut Linker<State>) -> wasmtime::Result<()>;

/// Every interface that can be granted: its name, its versions, the permission that stands for it, how it is linked.
///
/// A version that ends in `.` stands for all that begin so.
const GRANTABLE: &[(&str, &str, Permission, Link)] = {
    use bindings::{actum, wasi};
    &[
        ("wasi:http/types", "0.2.", Permission::Http, |l| {
            let options = wasi::http::types::LinkOptions::default();
            wasi::http::types::add_to_linker::<_, HasReal>(l, &options, State::real)
        }),
        ("wasi:http/outgoing-handler", "0.2.", Permission::Http, |l| {
            wasi::http::outgoing_handler::add_to_linker::<_, HasReal>(l, State::real)
        }),
        ("wasi:keyvalue/store", "0.2.0-draft", Permission::Keyvalue, |l| {
            wasi::keyvalue::store::add_to_linker::<_, HasReal>(l, State::real)
        }),
        ("wasi:keyvalue/atomics", "0.2.0-draft", Permission::Keyvalue, |l| {
            wasi::keyvalue::atomics::add_to_linker::<_, HasReal>(l, State::real)
        }),
        ("wasi:keyvalue/batch", "0.2.0-draft", Permission::Keyvalue, |l| {
            wasi::keyvalue::batch::add_to_linker::<_, HasReal>(l, State::real)
        }),
        ("wasi:config/store", "0.2.0-rc.1", Permission::Config, |l| {
            wasi::config::store::add_to_linker::<_, HasReal>(l, State::real)
        }),
        ("actum:host/delegate", "0.1.", Permission::Delegate, |l| {
            actum::host::delegate::add_to_linker::<_, HasReal>(l, State::real)
        }),
    ]
};

/// Links every interface that can be granted. Whether an action has it is decided when it runs.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    GRANTABLE.iter().try_for_each(|(_, _, _, link)| link(linker))
}

/// The permission that gives a component this import, where there is one.
pub(crate) fn permission(name: &str, version: Option<&str>) -> Option<Permission> {
    let fits = |known: &str| match version {
        Some(version) if known.ends_with('.') => {
            version.strip_prefix(known).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        }
        Some(version) => version == known,
        None => false,
    };
    GRANTABLE.iter().find(|(known, versions, _, _)| *known == name && fits(versions)).map(|g| g.2)
}

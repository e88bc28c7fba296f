//! Components held ready here, to know answers before they are asked for and to run actions again after.

use super::{FETCH_DEADLINE, Found, Requester};
use crate::{
    content::{self, Source},
    failure::CallError,
    resolve,
};
use actum_model::{ComponentId, Release, Signed};
use actum_overlay::SessionHandle;
use actum_sandbox::Loaded;
use std::sync::{Arc, PoisonError};

/// The most components held ready. When full, the one that was loaded first makes room.
const MAX_LOCAL: usize = 4;

/// A component that is here, and compiled.
pub(super) struct Local {
    pub(super) component: Arc<Vec<u8>>,
    pub(super) loaded: Arc<Loaded>,
}

impl Requester {
    /// The component of a release, fetched from these providers and whoever else is connected where this home lacks it, and
    /// found to be what the release says.
    pub(super) async fn local(
        &self,
        release: &Signed<Release>,
        providers: &[&Found],
    ) -> Result<Arc<Local>, CallError> {
        if let Some(local) = self.held(&release.payload().component) {
            return Ok(local);
        }
        let reached = futures::future::join_all(providers.iter().map(|found| self.session(found))).await;
        let mut sessions: Vec<_> = reached.into_iter().flatten().collect();
        for peer in &self.asked {
            if !sessions.iter().any(|session| session.peer() == *peer) {
                sessions.extend(self.overlay.session_with(peer));
            }
        }
        self.local_from(release, sessions).await
    }

    /// The same, from those that are connected.
    pub(super) async fn local_from(
        &self,
        release: &Signed<Release>,
        sessions: Vec<SessionHandle>,
    ) -> Result<Arc<Local>, CallError> {
        let said = release.payload();
        if let Some(local) = self.held(&said.component) {
            return Ok(local);
        }
        let component = match content::whole(&self.home, &said.component)? {
            Some(component) => component,
            None => self.obtain(said, &sessions).await?,
        };
        let sandbox = self.home.sandbox()?.clone();
        let component = Arc::new(component);
        let bytes = component.clone();
        let untrue = |why: String| CallError::Untrue { release: release.id(), why };
        let loaded = tokio::task::spawn_blocking(move || sandbox.load(&bytes)).await;
        let loaded = loaded.map_err(|e| untrue(e.to_string()))?.map_err(|e| untrue(e.to_string()))?;
        resolve::tells_the_truth(said, &loaded).map_err(untrue)?;
        let local = Arc::new(Local { component, loaded });
        let mut held = self.locals.lock().unwrap_or_else(PoisonError::into_inner);
        // Another task may have come to it first.
        if let Some((_, first)) = held.iter().find(|(id, _)| *id == said.component) {
            return Ok(first.clone());
        }
        if held.len() >= MAX_LOCAL {
            held.remove(0);
        }
        held.push((said.component, local.clone()));
        Ok(local)
    }

    /// A component that is held ready.
    pub(super) fn held(&self, component: &ComponentId) -> Option<Arc<Local>> {
        let held = self.locals.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|(id, _)| id == component).map(|(_, local)| local.clone())
    }

    async fn obtain(&self, release: &Release, sessions: &[SessionHandle]) -> Result<Vec<u8>, CallError> {
        let unreachable = |why: String| CallError::Unreachable { tried: vec![why] };
        let mut progress = |_, _| {};
        let obtain = content::obtain(&self.home, Source::Release(release), sessions, &mut progress);
        tokio::time::timeout(FETCH_DEADLINE, obtain)
            .await
            .map_err(|_| unreachable(format!("the component took more than {} s", FETCH_DEADLINE.as_secs())))?
            .map_err(|e| match e {
                content::ObtainError::Store(e) => CallError::Store(e),
                e => unreachable(e.to_string()),
            })
    }
}

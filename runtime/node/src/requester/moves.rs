//! What a requester fetches beyond answers: components.

use super::{ASKED, Called, FETCH_DEADLINE, Found, Requester};
use crate::{
    content::{self, Source},
    failure::CallError,
};

impl Requester {
    /// The component that these offers name, fetched where this home lacks it from all of their providers at once, and
    /// kept. Only the first eight that can be reached are asked; offers of another component, or another manifest, are left out. At most 60 s.
    ///
    /// A descriptor is enough: its release is not needed, nor believed.
    pub async fn fetch(
        &self,
        offers: &[Found],
        progress: &mut (dyn FnMut(u32, u32) + Send),
    ) -> Result<Vec<u8>, CallError> {
        let Some(first) = offers.first().map(|found| found.offer.descriptor().payload()) else {
            return Err(CallError::Unreachable { tried: Vec::new() });
        };
        let same = offers.iter().filter(|found| {
            let d = found.offer.descriptor().payload();
            (d.component, d.manifest) == (first.component, first.manifest)
        });
        let reach = futures::future::join_all(same.take(ASKED).map(|found| self.session(found)));
        let (reached, missed): (Vec<_>, Vec<_>) = reach.await.into_iter().partition(Result::is_ok);
        let sessions: Vec<_> = reached.into_iter().flatten().collect();
        let mut tried: Vec<_> = missed.into_iter().filter_map(Result::err).map(|e| e.to_string()).collect();
        let obtain = content::obtain(&self.home, Source::Descriptor(first), &sessions, progress);
        match tokio::time::timeout(FETCH_DEADLINE, obtain).await {
            Ok(Ok(component)) => return Ok(component),
            Ok(Err(content::ObtainError::Store(e))) => return Err(e.into()),
            Ok(Err(e)) => tried.push(e.to_string()),
            Err(_) => {
                tried.push(format!("{} took more than {} s", first.component, FETCH_DEADLINE.as_secs()))
            }
        }
        Err(CallError::Unreachable { tried })
    }

    /// Fetches the component of a call from its provider, where this home lacks it, so that the receipt can be
    /// replayed offline; and checks that the release, by which the arguments were read, is true of it.
    pub async fn keep_component(&self, called: &Called) -> Result<(), CallError> {
        let release = called.release.payload();
        let provider = called.receipt.payload().iss;
        // Whoever was asked and is still connected; its provider first.
        let peers = std::iter::once(&provider).chain(self.asked.iter().filter(|peer| **peer != provider));
        let sessions: Vec<_> = peers.filter_map(|peer| self.overlay.session_with(peer)).collect();
        debug_assert_eq!(release.component, called.receipt.payload().action.component);
        self.local_from(&called.release, sessions).await.map(|_| ())
    }
}

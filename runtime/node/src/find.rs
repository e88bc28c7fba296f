//! Finding: asks a few registries and, where that is called for, the advertise plane, and believes none of them.

use crate::{
    clock,
    failure::FindError,
    plane::look_up,
    requester::{FIND_DEADLINE, Requester},
};
use actum_discovery::{
    Answer, Found, Index, IndexLimits, REGISTRIES, RegistryCandidate,
    advertise::{Ad, Key, Peer},
    choose_registries, merge,
};
use actum_model::{ComponentId, Did, Filters, Page, Query, Signed};
use actum_overlay::{Request, Response};
use actum_store::Offence;
use futures::{StreamExt, stream::FuturesUnordered};
use serde_bytes::ByteArray;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    time::Duration,
};

/// The most offers asked for of one registry.
const PAGE: u32 = 50;
/// One query in so many is compared with the advertise plane, where the registries' answers did.
const AUDIT_ONE_IN: u64 = 20;
/// How long is looked on the advertise plane for what a query names exactly, or where no registry answers.
const LOOK: Duration = Duration::from_secs(5);
/// How long is looked for registries, where fewer are known than are asked.
const LOOK_FOR_REGISTRIES: Duration = Duration::from_millis(1_500);
/// The most keys looked up for one query.
const KEYS: usize = 3;
/// How long an offer may have been on the advertise plane without a registry being to blame for not having it: what is
/// announced takes its way.
const SETTLED: u64 = 120;
/// How far back omissions count: a week.
const REMEMBERED: u64 = 7 * 86_400;

/// What is being gathered: offers as they come, each given out once.
struct Gathering<'a> {
    own: Did,
    query: Query,
    union: Index,
    seen: BTreeSet<(Did, actum_model::ReleaseId)>,
    on_found: &'a mut (dyn FnMut(&Found) + Send),
}

impl Gathering<'_> {
    /// What the union has for the query now, others' offers alone.
    fn found(&self) -> Vec<Found> {
        let mut found = self.union.search(&self.query, clock::now_secs());
        found.retain(|f| f.offer.descriptor().payload().iss != self.own);
        found
    }

    /// Gives out what is new.
    fn tell(&mut self) {
        for found in self.found() {
            let d = found.offer.descriptor().payload();
            if self.seen.insert((d.iss, d.release)) {
                (self.on_found)(&found);
            }
        }
    }
}

impl Requester {
    /// Who offers this, best first. As [`Requester::find_as_they_come`], with nobody listening.
    pub async fn find(&self, text: &str, filters: &Filters, limit: u32) -> Result<Vec<Found>, FindError> {
        self.find_as_they_come(text, filters, limit, &mut |_| {}).await
    }

    /// Who offers this, best first: the union of what three registries of different operators and address ranges say, and
    /// of what this home's own node knows; each offer verified, filtered and ranked here. This home's own offers are left
    /// out. `on_found` is told of each offer once, as soon as anybody answers with it.
    ///
    /// What is named exactly (a component id, an interface) is looked up on the advertise plane too, and so is everything
    /// where no registry answers, or none has anything. One query in twenty is looked up there as well, to hold the registries to their word: one
    /// that left out what it should have had is asked after others from then on.
    pub async fn find_as_they_come(
        &self,
        text: &str,
        filters: &Filters,
        limit: u32,
        on_found: &mut (dyn FnMut(&Found) + Send),
    ) -> Result<Vec<Found>, FindError> {
        let now = clock::now_secs();
        let known = self.home.store().offers(now)?;
        if self.asked.is_empty() && known.is_empty() && self.tried.is_empty() {
            return Err(FindError::NobodyToAsk);
        }
        let text = text.get(..text.floor_char_boundary(512)).unwrap_or(text).to_owned();
        let mut gathering = Gathering {
            own: self.home.did(),
            query: self.query(self.home.did(), &text, filters),
            union: Index::new(IndexLimits::default()),
            seen: BTreeSet::new(),
            on_found,
        };
        // What this home's own node was told counts as one more answer.
        let had_some = !known.is_empty();
        for offer in known {
            let _ = gathering.union.observe_descriptor(offer.descriptor, now);
            let _ = gathering.union.observe_lease(offer.lease, now);
        }
        gathering.tell();
        let exact = exact_keys(&text, filters);
        let audited = u64::from_le_bytes(clock::random()).is_multiple_of(AUDIT_ONE_IN);
        let seeds = self.seeds().await?;
        let looking = async {
            match exact.is_empty() {
                true => Vec::new(),
                false => self.look(&exact, &seeds, LOOK).await,
            }
        };
        let asking = self.ask_registries(&text, filters, &mut gathering, &seeds);
        let (asked, ads) = futures::join!(asking, looking);
        let (answers, failed) = asked?;
        self.take(&mut gathering, ads);
        let nobody = answers.is_empty();
        if exact.is_empty() && (nobody || audited || gathering.found().is_empty()) {
            let ads = self.look(&word_keys(&text), &seeds, LOOK).await;
            let offers: Vec<_> = ads.iter().filter_map(|ad| ad.live_offer()).collect();
            self.audit(&answers, &offers, &gathering.query)?;
            self.take(&mut gathering, ads);
        }
        let mut found = gathering.found();
        if nobody && !had_some && found.is_empty() {
            return Err(FindError::NoAnswer { tried: self.tried.iter().cloned().chain(failed).collect() });
        }
        found.truncate(limit as usize);
        Ok(found)
    }

    fn query(&self, aud: Did, text: &str, filters: &Filters) -> Query {
        Query {
            iss: self.home.did(),
            aud,
            text: text.to_owned(),
            filters: filters.clone(),
            limit: PAGE,
            nonce: ByteArray::new(clock::random()),
        }
    }

    /// Asks the registries chosen, and takes each answer in as it comes. Gives the answers, and why the others failed.
    async fn ask_registries(
        &self,
        text: &str,
        filters: &Filters,
        gathering: &mut Gathering<'_>,
        seeds: &[Peer],
    ) -> Result<(Vec<(Query, Signed<Page>)>, Vec<String>), FindError> {
        let key = self.home.key()?;
        let ask = |registry: Did| {
            let query = self.query(registry, text, filters);
            async move {
                let request = Request::Find { query: Signed::sign(query.clone(), key).bytes().to_vec() };
                let answer = self.overlay.request(&registry, &request, FIND_DEADLINE).await;
                let page = match answer.map_err(|e| e.to_string())? {
                    Response::Page { page } => Signed::<Page>::verify(&page).map_err(|e| e.to_string())?,
                    Response::Refused { refusal } => return Err(refusal.to_string()),
                    _ => return Err("it answered something else".to_owned()),
                };
                Ok::<_, String>((query, page))
            }
        };
        let known = self.known_registries()?;
        let asked: BTreeSet<Did> = known.iter().map(|r| r.did).collect();
        let mut asking: FuturesUnordered<_> = asked.iter().copied().map(ask).collect();
        // Whoever is known is asked while others are still looked for.
        let mut others = pin!(self.other_registries(known, seeds));
        let mut looked = false;
        let (mut answers, mut failed) = (Vec::new(), Vec::new());
        loop {
            let answer = tokio::select! {
                Some(answer) = asking.next() => answer,
                others = &mut others, if !looked => {
                    looked = true;
                    others?.into_iter().for_each(|registry| asking.push(ask(registry)));
                    continue;
                }
                else => break,
            };
            match answer {
                Ok((query, page)) => {
                    if self.take_page(gathering, &query, &page)? {
                        answers.push((query, page));
                    }
                }
                Err(why) => failed.push(why),
            }
        }
        Ok((answers, failed))
    }

    /// Takes in what a registry answered; says whether its page counts.
    fn take_page(
        &self,
        gathering: &mut Gathering<'_>,
        query: &Query,
        page: &Signed<Page>,
    ) -> Result<bool, FindError> {
        let now = clock::now_secs();
        let merged = merge(&[Answer { query, page }], now);
        for refused in &merged.refused_pages {
            tracing::warn!(index = %refused.index, why = %refused.why, "an answer was left out");
        }
        let forged = merged.refused_offers.iter().find(|r| r.why.is_fault());
        if let Some(forged) = forged {
            tracing::warn!(index = %query.aud, why = %forged.why, "an offer was left out");
        }
        if forged.is_some() || !merged.refused_pages.is_empty() {
            self.note(&query.aud, Offence::WrongPage)?;
        }
        for found in &merged.found {
            let _ = gathering.union.observe_offer(&found.offer.to_wire(), now);
        }
        gathering.tell();
        Ok(merged.refused_pages.is_empty())
    }

    /// The registries to ask of those connected: all that the caller named, or else a few that share neither operator nor
    /// address range.
    fn known_registries(&self) -> Result<Vec<RegistryCandidate>, FindError> {
        let connected = self.asked.iter().map(|did| {
            let ip = self.overlay.seen_at(did).unwrap_or(Ipv4Addr::UNSPECIFIED.into());
            self.candidate(*did, ip)
        });
        let connected = connected.collect::<Result<Vec<_>, _>>()?;
        if !self.named.is_empty() {
            return Ok(connected.into_iter().filter(|c| c.named).collect());
        }
        Ok(choose_registries(&connected, self.local, u64::from_le_bytes(clock::random())))
    }

    fn candidate(&self, did: Did, ip: IpAddr) -> Result<RegistryCandidate, FindError> {
        let since = clock::now_secs().saturating_sub(REMEMBERED);
        let caught = self.home.store().offences_of(&did, since)?;
        let omissions = caught.iter().filter(|o| o.offence.is_of_a_registry()).count();
        let omissions = u32::try_from(omissions).unwrap_or(u32::MAX);
        Ok(RegistryCandidate { did, operator: did, ip, omissions, named: self.named.contains(&did) })
    }

    /// Where fewer are known than are asked, registries of the advertise plane, connected now.
    async fn other_registries(
        &self,
        known: Vec<RegistryCandidate>,
        seeds: &[Peer],
    ) -> Result<Vec<Did>, FindError> {
        if known.len() >= REGISTRIES || !self.named.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: BTreeMap<Did, Peer> = BTreeMap::new();
        let mut on_found = |ad: Ad| {
            let lease = ad.lease().payload();
            if let Ok(peer) = Peer::named(lease.iss, lease.addrs.clone()) {
                found.insert(lease.iss, peer);
            }
        };
        let (own, key) = (self.home.did(), Key::registries());
        look_up(&self.overlay, own, self.local, key, seeds, LOOK_FOR_REGISTRIES, &mut on_found).await;
        let had: BTreeSet<Did> = known.iter().map(|c| c.did).collect();
        let mut candidates = known;
        // Those being asked already keep their voices.
        candidates.iter_mut().for_each(|c| c.named = true);
        for peer in found.values().filter(|p| !had.contains(p.did()) && *p.did() != own) {
            candidates.push(self.candidate(*peer.did(), peer.ip())?);
        }
        let chosen = choose_registries(&candidates, self.local, u64::from_le_bytes(clock::random()));
        let reach = chosen.iter().filter_map(|c| found.get(&c.did)).map(async |peer| {
            let addresses: Vec<_> = peer.addrs().iter().filter_map(|a| a.parse().ok()).collect();
            self.overlay.connect_to(peer.did(), &addresses).await.ok().map(|session| session.peer())
        });
        let reached = tokio::time::timeout(LOOK_FOR_REGISTRIES, futures::future::join_all(reach)).await;
        let reached = reached.unwrap_or_default().into_iter().flatten();
        Ok(reached.filter(|did| !had.contains(did)).collect())
    }

    /// The peers a lookup begins at: those connected, and those met before.
    async fn seeds(&self) -> Result<Vec<Peer>, FindError> {
        let mut seeds: Vec<Peer> =
            self.overlay.known_peers().await.iter().filter_map(crate::plane::peer_of).collect();
        for met in self.home.store().peers()? {
            let address = met.addr.split("/p2p/").next().unwrap_or_default().to_owned();
            seeds.extend(Peer::named(met.did, vec![address]));
        }
        Ok(seeds)
    }

    /// The ads under these keys, all looked up at once.
    async fn look(&self, keys: &[Key], seeds: &[Peer], within: Duration) -> Vec<Ad> {
        let own = self.home.did();
        let looking = keys.iter().take(KEYS).map(async |key| {
            let mut ads = Vec::new();
            let mut on_found = |ad| ads.push(ad);
            look_up(&self.overlay, own, self.local, *key, seeds, within, &mut on_found).await;
            ads
        });
        futures::future::join_all(looking).await.into_iter().flatten().collect()
    }

    fn take(&self, gathering: &mut Gathering<'_>, ads: Vec<Ad>) {
        for ad in ads {
            let _ = gathering.union.observe_offer(&ad.to_wire(), clock::now_secs());
        }
        gathering.tell();
    }

    /// Compares what registries answered with what the advertise plane has: whoever left out an offer that answers the query,
    /// though it had room for it and time to hear of it, has omitted it.
    fn audit(
        &self,
        answers: &[(Query, Signed<Page>)],
        ads: &[actum_discovery::LiveOffer],
        query: &Query,
    ) -> Result<(), FindError> {
        let now = clock::now_secs();
        let mut advertised = Index::new(IndexLimits::default());
        for ad in ads.iter().filter(|ad| ad.descriptor().payload().nbf.saturating_add(SETTLED) <= now) {
            let _ = advertised.observe_offer(&ad.to_wire(), now);
        }
        let expected = advertised.search(query, now);
        for (asked, page) in answers {
            let page = page.payload();
            if page.offers.len() >= asked.limit as usize {
                continue; // It may have had better ones.
            }
            let mut has = Index::new(IndexLimits::default());
            for offer in &page.offers {
                let _ = has.observe_offer(offer, now);
            }
            let has: BTreeSet<_> = has
                .offers(now)
                .iter()
                .map(|o| (o.descriptor().payload().iss, o.descriptor().payload().release))
                .collect();
            let missing = |f: &&Found| {
                let d = f.offer.descriptor().payload();
                !has.contains(&(d.iss, d.release))
            };
            if let Some(missing) = expected.iter().find(missing) {
                let d = missing.offer.descriptor().payload();
                tracing::warn!(registry = %asked.aud, provider = %d.iss, name = %d.name, "a registry left out an offer");
                self.note(&asked.aud, Offence::Omission)?;
            }
        }
        Ok(())
    }

    fn note(&self, peer: &Did, offence: Offence) -> Result<(), FindError> {
        Ok(self.home.store().put_offence(peer, offence, clock::now_secs())?)
    }
}

/// The keys of what a query names exactly.
fn exact_keys(text: &str, filters: &Filters) -> Vec<Key> {
    let component = text.trim().parse::<ComponentId>().ok().map(|id| Key::component(&id));
    component.into_iter().chain(filters.interface.as_deref().map(Key::interface)).collect()
}

/// The keys that plain words may be tags of, the longest words first: they say most.
fn word_keys(text: &str) -> Vec<Key> {
    let whole = text.split(|c: char| !c.is_alphanumeric() && c != '-');
    let parts = text.split(|c: char| !c.is_alphanumeric());
    let mut words: Vec<String> = whole.chain(parts).filter(|w| w.len() > 2).map(str::to_lowercase).collect();
    words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    words.dedup();
    words.iter().take(KEYS).map(|word| Key::tag(word)).collect()
}

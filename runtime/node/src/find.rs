//! Finding: asks a few registries and, where that is called for, the advertise plane, and believes none of them.

use crate::{
    clock,
    failure::FindError,
    home::Home,
    node::without_peer_id,
    plane::{Seeker, dialled, peer_of},
    records,
    requester::{FIND_DEADLINE, OTHERS_DEADLINE, Requester, addresses},
};
use actum_discovery::{
    Answer, Found, Gathering, LiveOffer, Omission, REGISTRIES, Record, RegistryCandidate,
    advertise::{Ad, Key, Peer},
    choose_registries,
};
use actum_model::{ComponentId, Did, Filters, Outcome, Page, Query, Receipt, Signed};
use actum_overlay::{Request, Response};
use actum_store::{Offence, StoreError};
use futures::{StreamExt, stream::FuturesUnordered};
use serde_bytes::ByteArray;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The most offers asked for of one registry.
const PAGE: u32 = 50;
/// One query in so many is looked up on the advertise plane for no other reason than to compare.
const AUDIT_ONE_IN: u64 = 20;
/// How long is looked on the advertise plane for what a query names exactly, or where no registry answers.
const LOOK: Duration = Duration::from_secs(5);
/// How long is looked for registries, where fewer are known than are asked.
const LOOK_FOR_REGISTRIES: Duration = Duration::from_millis(1_500);
/// The most keys looked up for one query.
const KEYS: usize = 3;
/// How far back omissions count: a week.
const REMEMBERED: u64 = 7 * 86_400;

/// The most receipts of one provider that are read, its newest: more say no more.
const RECEIPTS_READ: usize = 16;
/// How long a provider that a registry left out gets to show that it is there.
const THERE: Duration = Duration::from_secs(3);

/// What this home has of providers itself, looked up once each.
struct Records {
    home: Arc<Home>,
    seen: Arc<records::Records>,
    known: Mutex<BTreeMap<Did, Record>>,
}

impl Records {
    fn of(&self, provider: &Did) -> Record {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(*provider).or_insert_with(|| {
            self.read(provider).unwrap_or_else(|error| {
                tracing::warn!(%error, %provider, "what is known of a provider cannot be read");
                Record::default()
            })
        })
    }

    fn read(&self, provider: &Did) -> Result<Record, StoreError> {
        let refuted = u64::from(self.seen.lied(provider)?);
        let receipts = self.home.store().receipts(None, RECEIPTS_READ, Some(provider))?;
        let well =
            |r: &&Signed<Receipt>| matches!(r.payload().outcome, Outcome::Ok(_) | Outcome::GuestError(_));
        let good = receipts.iter().filter(well).count() as u64;
        Ok(Record { good, refuted })
    }
}

/// One query, as its answers come in.
struct Finding<'a> {
    gathering: Gathering,
    records: Records,
    /// Random, of this query.
    draw: u64,
    on_found: &'a mut (dyn FnMut(&Found) + Send),
}

impl Finding<'_> {
    fn found(&self) -> Vec<Found> {
        self.gathering.found(|provider| self.records.of(provider), clock::now_secs(), self.draw)
    }

    fn leaves_nothing(&self) -> bool {
        self.gathering.leaves_nothing(&self.found(), |provider| self.records.of(provider))
    }

    /// Gives out what is new.
    fn tell(&mut self) {
        let record = |provider: &Did| self.records.of(provider);
        self.gathering.news(record, clock::now_secs(), self.draw).iter().for_each(&mut *self.on_found);
    }

    /// Takes offers in that were verified.
    fn take<'o>(&mut self, offers: impl IntoIterator<Item = &'o LiveOffer>) {
        let now = clock::now_secs();
        offers.into_iter().for_each(|offer| self.gathering.offer(offer, now));
        self.tell();
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
    /// where no registry answers, or none has anything but of providers that lied to this home. One query in twenty is looked
    /// up there as well, to hold the registries to their word: one that left out what it should have had is asked after others
    /// from then on.
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
        let mut finding = Finding {
            gathering: Gathering::new(self.query(self.home.did(), &text, filters)),
            records: Records { home: self.home.clone(), seen: self.records.clone(), known: Mutex::default() },
            draw: u64::from_le_bytes(clock::random()),
            on_found,
        };
        // What this home's own node was told counts as one more answer.
        let had_some = !known.is_empty();
        let known = known.into_iter().filter_map(|offer| {
            LiveOffer::of(Arc::new(offer.descriptor), Arc::new(offer.lease), now).ok().flatten()
        });
        finding.take(&known.collect::<Vec<_>>());
        let exact = exact_keys(&text, filters);
        let audited = u64::from_le_bytes(clock::random()).is_multiple_of(AUDIT_ONE_IN);
        let seeds = self.seeds().await?;
        let looking = async {
            match (exact.is_empty(), audited) {
                (false, _) => self.look(&exact, &seeds, LOOK).await,
                (true, true) => self.look(&word_keys(&text), &seeds, LOOK).await,
                (true, false) => Vec::new(),
            }
        };
        let asking = self.ask_registries(&text, filters, &mut finding, &seeds);
        let (failed, mut advertised) = futures::join!(asking, looking);
        let failed = failed?;
        finding.take(&advertised);
        let nobody = finding.gathering.answers() == 0;
        if exact.is_empty() && !audited && finding.leaves_nothing() {
            advertised = self.look(&word_keys(&text), &seeds, LOOK).await;
            finding.take(&advertised);
        }
        let record = |provider: &Did| finding.records.of(provider);
        let omissions = finding.gathering.omissions(&advertised, record, clock::now_secs());
        self.blame(omissions).await?;
        let mut found = finding.found();
        if nobody && !had_some && found.is_empty() {
            return Err(FindError::NoAnswer { tried: self.tried.iter().cloned().chain(failed).collect() });
        }
        found.truncate(limit as usize);
        Ok(found)
    }

    /// Remembers which registries left out what they should have had, as far as its provider is there now.
    async fn blame(&self, omissions: Vec<Omission>) -> Result<(), FindError> {
        for omission in omissions {
            let d = omission.offer.descriptor().payload();
            let addresses = addresses(&omission.offer);
            let there = self.session_at(&d.iss, &addresses);
            if !matches!(tokio::time::timeout(THERE, there).await, Ok(Ok(_))) {
                continue;
            }
            tracing::warn!(registry = %omission.index, provider = %d.iss, name = %d.name, "a registry left out an offer");
            self.note(&omission.index, Offence::Omission)?;
        }
        Ok(())
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

    /// Asks the registries chosen, and takes each answer in as it comes. Says why the others failed.
    async fn ask_registries(
        &self,
        text: &str,
        filters: &Filters,
        finding: &mut Finding<'_>,
        seeds: &[Peer],
    ) -> Result<Vec<String>, FindError> {
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
        let mut failed = Vec::new();
        // Each question has its own deadline until one is answered; then the others, and those still looked for, share one.
        let mut late = pin!(sleep(FIND_DEADLINE));
        let mut answered = false;
        while !looked || !asking.is_empty() {
            let answer = tokio::select! {
                biased;
                Some(answer) = asking.next() => answer,
                others = &mut others, if !looked => {
                    looked = true;
                    others?.into_iter().for_each(|registry| asking.push(ask(registry)));
                    continue;
                }
                () = &mut late, if answered => {
                    failed.push(format!("no answer in {} s after the first", OTHERS_DEADLINE.as_secs()));
                    break;
                }
                else => break,
            };
            match answer {
                Ok((query, page)) => {
                    failed.extend(self.take_page(finding, &query, &page)?);
                    if !answered && finding.gathering.answers() > 0 {
                        answered = true;
                        late.as_mut().reset(Instant::now() + OTHERS_DEADLINE);
                    }
                }
                Err(why) => failed.push(why),
            }
        }
        Ok(failed)
    }

    /// Takes in what a registry answered; says why it does not count, where it does not.
    fn take_page(
        &self,
        finding: &mut Finding<'_>,
        query: &Query,
        page: &Signed<Page>,
    ) -> Result<Option<String>, FindError> {
        let taken = finding.gathering.page(&Answer { query, page }, clock::now_secs());
        if let Some(why) = &taken.page {
            tracing::warn!(index = %query.aud, %why, "an answer was left out");
        }
        if let Some(why) = taken.offers.iter().find(|why| why.is_fault()) {
            tracing::warn!(index = %query.aud, %why, "an offer was left out");
        }
        if taken.is_fault() {
            self.note(&query.aud, Offence::WrongPage)?;
        }
        finding.tell();
        Ok(taken.page.map(|why| format!("{}: {why}", query.aud)))
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
        let had: BTreeSet<Did> = known.iter().map(|c| c.did).collect();
        let candidate = |peer: &Peer| self.candidate(*peer.did(), peer.ip());
        let draw = u64::from_le_bytes(clock::random());
        let chosen = self.seeker(seeds).find_registries(LOOK_FOR_REGISTRIES, known, candidate, draw).await?;
        let reach = chosen.iter().map(async |peer| {
            self.overlay.connect_named(peer.did(), &dialled(peer)).await.ok().map(|session| session.peer())
        });
        let reached = tokio::time::timeout(LOOK_FOR_REGISTRIES, futures::future::join_all(reach)).await;
        let reached = reached.unwrap_or_default().into_iter().flatten();
        Ok(reached.filter(|did| !had.contains(did)).collect())
    }

    fn seeker<'a>(&'a self, seeds: &'a [Peer]) -> Seeker<'a> {
        Seeker { overlay: &self.overlay, own: self.home.did(), local: self.local, seeds }
    }

    /// The peers a lookup begins at: those connected, and those met before.
    async fn seeds(&self) -> Result<Vec<Peer>, FindError> {
        let mut seeds: Vec<Peer> = self.overlay.known_peers().await.iter().filter_map(peer_of).collect();
        for met in self.home.store().peers()? {
            let address = met.addr.parse().map(|address| without_peer_id(&address));
            seeds.extend(address.ok().and_then(|address| Peer::named(met.did, vec![address]).ok()));
        }
        Ok(seeds)
    }

    /// The offers advertised under these keys, all looked up at once.
    async fn look(&self, keys: &[Key], seeds: &[Peer], within: Duration) -> Vec<LiveOffer> {
        let seeker = self.seeker(seeds);
        let looking = keys.iter().take(KEYS).map(async |key| {
            let mut offers = Vec::new();
            let mut on_found = |ad: Ad| offers.extend(ad.live_offer());
            seeker.look_up(*key, within, &mut on_found).await;
            offers
        });
        futures::future::join_all(looking).await.into_iter().flatten().collect()
    }

    fn note(&self, peer: &Did, offence: Offence) -> Result<(), FindError> {
        Ok(self.home.store().put_offence(peer, offence, clock::now_secs())?)
    }
}

/// The keys of what a query names exactly.
pub(crate) fn exact_keys(text: &str, filters: &Filters) -> Vec<Key> {
    let component = text.trim().parse::<ComponentId>().ok().map(|id| Key::component(&id));
    component.into_iter().chain(filters.interface.as_deref().map(Key::interface)).collect()
}

/// The keys that plain words may be tags of, the longest words first: they say most.
pub(crate) fn word_keys(text: &str) -> Vec<Key> {
    let whole = text.split(|c: char| !c.is_alphanumeric() && c != '-');
    let parts = text.split(|c: char| !c.is_alphanumeric());
    let mut words: Vec<String> = whole.chain(parts).filter(|w| w.len() > 2).map(str::to_lowercase).collect();
    words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    words.dedup();
    words.iter().take(KEYS).map(|word| Key::tag(word)).collect()
}

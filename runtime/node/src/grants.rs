//! Grants: the delegations of `/actum/run` that a person makes, hands on, keeps, looks at and ends.
//!
//! A [`Grant`] is a whole chain, for that is what can be shown to somebody and checked. [`Grants`] is what one home knows
//! of them at one moment: its store of delegations, its ledger, the names its owner gives keys, and what has ended. It
//! decides nothing about actions; the node that is asked does.

mod end;
mod error;
mod make;
mod state;

pub use end::{Revoked, Told, tell};
pub use error::{Flaw, GrantError};
pub use make::{Asked, End, LIFE_SECONDS, Made, Note};
pub use state::{Listed, State, Which};

use crate::{authority::Ended, config::Config, home::Home};
use actum_model::{
    Delegation, DelegationId, Did,
    grant::describe_chain,
    run::Use,
    ucan::{
        Chain, MAX_CHAIN, Proof,
        container::{self, Form},
    },
};
use actum_store::StoreError;
use std::{
    fs,
    io::{self, Read},
    path::Path,
};

/// The most chains looked at to find that of one delegation.
const CHAINS_LOOKED_AT: usize = 64;
/// What this home's own key is called in words.
const OWN_NAME: &str = "you";

/// A chain of delegations, each verified, root first; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    links: Vec<Proof>,
    last: Proof,
}

impl Grant {
    /// A chain of these; nothing of none.
    fn of(links: Vec<Proof>) -> Option<Self> {
        let last = links.last()?.clone();
        Some(Self { links, last })
    }

    /// Reads a container: each signature is verified, and the delegations are put in their order. Text may have white
    /// space around it.
    pub fn read(bytes: &[u8]) -> Result<Self, GrantError> {
        // The form of bytes begins with `@`; nothing of it may be taken away.
        let trimmed = bytes.trim_ascii();
        let bytes = if trimmed.starts_with(b"@") { bytes } else { trimmed };
        let links = container::read_chain(bytes).map_err(GrantError::Container)?;
        Self::of(links).ok_or(GrantError::Empty)
    }

    /// Reads a container from a stream, at most as many bytes as one may have. `what` names it in errors.
    pub fn read_from(what: &str, stream: impl Read) -> Result<Self, GrantError> {
        let failed = |source| GrantError::Read { what: what.to_owned(), source };
        let mut bytes = Vec::new();
        stream.take(container::MAX_TEXT_BYTES as u64 + 16).read_to_end(&mut bytes).map_err(failed)?;
        Self::read(&bytes)
    }

    /// As a container in text, on one line without its end.
    pub fn to_text(&self) -> Result<String, GrantError> {
        let bytes = container::write_chain(&self.links, Form::Base64).map_err(GrantError::Container)?;
        String::from_utf8(bytes).map_err(|_| GrantError::Empty)
    }

    /// The delegations, root first; at least one.
    pub fn links(&self) -> &[Proof] {
        &self.links
    }

    /// The last delegation: to whom the grant is.
    pub fn last(&self) -> &Proof {
        &self.last
    }

    /// The last delegation's id, by which people name the grant.
    pub fn id(&self) -> &DelegationId {
        self.last.id()
    }

    /// Whose authority it passes on; `None` where it begins with a delegation that names nobody's.
    pub fn subject(&self) -> Option<Did> {
        self.links.first().and_then(|root| root.sub)
    }

    /// Up to and with the last delegation that fits.
    fn up_to(&self, fits: impl Fn(&Proof) -> bool) -> Option<Self> {
        let at = self.links.iter().rposition(fits)?;
        Self::of(self.links.get(..=at)?.to_vec())
    }

    fn payloads(&self) -> Vec<&Delegation> {
        self.links.iter().map(|link| link.signed().payload()).collect()
    }

    /// The chain of it, if it leads from a subject to whom it is for.
    fn chain(&self) -> Result<Chain, actum_model::ucan::ChainError> {
        let root = self.links.first().unwrap_or(&self.last);
        Chain::of(self.links.clone(), &root.sub.unwrap_or(root.iss), &self.last.aud)
    }
}

/// A grant that somebody named.
#[derive(Clone, Debug)]
pub struct Found {
    /// The grant.
    pub grant: Grant,
    /// Whether it was read from a file, so that no one of its delegations was named.
    pub file: bool,
}

/// One home's grants, at one moment.
pub struct Grants<'h> {
    home: &'h Home,
    ended: Ended,
    now: u64,
    skew: u64,
    owners: Vec<Did>,
    deny: Vec<Did>,
}

impl<'h> Grants<'h> {
    /// Reads what this home has heard of. `now` is the time in seconds since the Unix epoch.
    pub fn open(home: &'h Home, config: &Config, now: u64) -> Result<Self, StoreError> {
        let ended = Ended::read(home)?;
        let (owners, deny) = (config.owners.clone(), config.deny.clone());
        Ok(Self { home, ended, now, skew: config.clock_skew_seconds.seconds(), owners, deny })
    }

    /// The moment, in seconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.now
    }

    fn me(&self) -> Did {
        self.home.did()
    }

    /// Whether a key is this home's, or one that it has succeeded.
    pub fn is_me(&self, did: &Did) -> bool {
        *did == self.me() || self.home.former().iter().any(|former| former.did == *did)
    }

    /// What a key is called here: `you`, what this home's owner calls it, or the end of its did:key.
    pub fn name(&self, did: &Did) -> String {
        if *did == self.me() {
            return OWN_NAME.to_owned();
        }
        match self.home.store().name_of(did) {
            _ if self.is_me(did) => format!("your former key {}", did.short()),
            Ok(Some(name)) if !name.eq_ignore_ascii_case(OWN_NAME) => name,
            _ => did.short(),
        }
    }

    /// Who is meant by a did:key, a name given before, or `name=did:key`, which gives the name.
    ///
    /// A name that another key has is refused, and so is `you`.
    pub fn whom(&self, text: &str) -> Result<Did, GrantError> {
        let bad = || GrantError::NotSomebody { text: text.chars().take(80).collect() };
        if let Some((name, did)) = text.split_once('=') {
            let did: Did = did.parse().map_err(|_| bad())?;
            if name.eq_ignore_ascii_case(OWN_NAME) {
                return Err(GrantError::OwnName { name: name.to_owned() });
            }
            self.home.store().put_name(name, &did).map_err(GrantError::name)?;
            return Ok(did);
        }
        if text.starts_with("did:") {
            return text.parse().map_err(|_| bad());
        }
        let unknown = || GrantError::Nobody { name: text.chars().take(80).collect() };
        self.home.store().named(text)?.ok_or_else(unknown)
    }

    /// Finds a grant by a delegation's id, by enough of its beginning or end, or in a file.
    pub fn find(&self, text: &str) -> Result<Found, GrantError> {
        let path = Path::new(text);
        if text.parse::<DelegationId>().is_err() && path.is_file() {
            let failed = |source: io::Error| GrantError::Read { what: text.to_owned(), source };
            let file = fs::File::open(path).map_err(failed)?;
            return Ok(Found { grant: Grant::read_from(text, file)?, file: true });
        }
        match self.home.store().delegation_by_part(text) {
            Ok(Some(delegation)) => Ok(Found { grant: self.chain_of(Proof::from(delegation))?, file: false }),
            Ok(None) => Err(GrantError::NotFound { text: text.chars().take(80).collect() }),
            Err(StoreError::Ambiguous { prefix, matches }) => {
                Err(GrantError::Ambiguous { text: prefix, matches })
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The chain kept here that ends in a delegation: of several, which only a delegation without a subject has, the
    /// shortest that holds now, else the shortest.
    fn chain_of(&self, last: Proof) -> Result<Grant, GrantError> {
        if last.sub == Some(last.iss) {
            return Ok(Grant { links: vec![last.clone()], last });
        }
        let above = self.home.store().chains_to(&last.iss, last.sub.as_ref(), 0, CHAINS_LOOKED_AT)?;
        let whole = above.into_iter().filter(|chain| chain.len() < MAX_CHAIN).filter_map(|chain| {
            let links = chain.into_iter().map(Proof::from).chain([last.clone()]);
            Grant::of(links.collect()).filter(|grant| grant.chain().is_ok())
        });
        let whole: Vec<Grant> = whole.collect();
        let holds = whole.iter().position(|grant| self.verify(grant, self.now, None).is_ok());
        if whole.is_empty() && last.sub.is_none() {
            // It hands on what its issuer has; they may have nothing yet.
            return Ok(Grant { links: vec![last.clone()], last });
        }
        let incomplete = GrantError::Incomplete { id: *last.id(), issuer: last.iss };
        whole.into_iter().nth(holds.unwrap_or(0)).ok_or(incomplete)
    }

    /// A grant in words, all of them for people. `time` writes a time in seconds since the Unix epoch.
    pub fn describe(&self, grant: &Grant, time: &dyn Fn(u64) -> String) -> String {
        self.words(&grant.payloads(), time)
    }

    /// What one delegation says by itself, in words.
    pub fn describe_link(&self, link: &Proof, time: &dyn Fn(u64) -> String) -> String {
        self.words(&[link.signed().payload()], time)
    }

    fn words(&self, chain: &[&Delegation], time: &dyn Fn(u64) -> String) -> String {
        let text = describe_chain(chain, &|did| self.name(did), time, self.now);
        // The sentence is written for a third person; a name given to another key is never this one.
        let text = match text.strip_prefix("you lets ") {
            Some(rest) => format!("You let {rest}"),
            None => text,
        };
        text.replacen(", in the name of you,", ", in your name,", 1)
    }

    /// What of a delegation's totals was used at this home.
    pub fn spent(&self, id: &DelegationId) -> Result<Use, StoreError> {
        let spent = self.home.ledger()?.spent(id)?;
        Ok(Use { actions: spent.actions, fuel: spent.fuel })
    }

    /// Keeps a grant that somebody gave this home, if it holds now or will.
    pub fn keep(&self, grant: &Grant) -> Result<(), GrantError> {
        if !self.is_me(&grant.last.aud) {
            return Err(GrantError::NotToYou { to: grant.last.aud });
        }
        self.sound(grant)?;
        Ok(self.put(grant)?)
    }

    fn put(&self, grant: &Grant) -> Result<(), StoreError> {
        let signed: Vec<_> = grant.links.iter().map(|link| link.signed().clone()).collect();
        self.home.store().put_delegations(&signed)
    }
}

//! How it stands with a grant: whether it holds, and the grants there are.

use super::{Flaw, Grant, GrantError, Grants};
use actum_model::{
    DelegationId, Did, RunArgs, Terms,
    grant::{Capability, Count, check_chain},
    run::Use,
    ucan::{Chain, Proof},
};
use std::collections::BTreeSet;

/// How it stands with one delegation, as far as this home has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds, or would if those above it did.
    Valid,
    /// It begins later, in seconds since the Unix epoch.
    NotYet(u64),
    /// It ended, in seconds since the Unix epoch.
    Expired(u64),
    /// It was revoked by this key.
    Revoked(Did),
    /// Its issuer's key was succeeded by this one, which did not keep it.
    Succeeded(Did),
    /// It does not hold for another reason; [`Grants::verify`] says which.
    Broken,
}

impl State {
    /// In one word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotYet(_) => "not-yet",
            Self::Expired(_) => "expired",
            Self::Revoked(_) => "revoked",
            Self::Succeeded(_) => "key rotated",
            Self::Broken => "broken",
        }
    }
}

/// Which grants are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// To this home.
    Held,
    /// By this home.
    Issued,
    /// To it and by it.
    Own,
    /// Every delegation kept here, those that others showed too.
    All,
}

/// A delegation in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The delegation.
    pub last: Proof,
    /// Its chain; `None` where that is not all here.
    pub grant: Option<Grant>,
    /// How it stands with the chain, or with the delegation alone.
    pub state: State,
    /// When the chain ends, in seconds since the Unix epoch.
    pub until: Option<u64>,
    /// What may be run, in a few words.
    pub what: String,
    /// What was used of the delegation at this home.
    pub spent: Use,
}

impl Grants<'_> {
    /// Whether a grant holds at a time, in seconds since the Unix epoch, as far as this home has heard; and whether it is
    /// worth something to `provider`.
    ///
    /// Which providers honour another's grants is in their configuration; this home's own is taken into account.
    pub fn verify(&self, grant: &Grant, at: u64, provider: Option<&Did>) -> Result<Chain, Flaw> {
        let chain = grant.chain()?;
        chain.covers(&RunArgs::command())?;
        check_chain(&grant.payloads())?;
        chain.standing(&|id: &DelegationId, above: &[Did]| self.ended.revoked_by(id, above))?;
        for (index, link) in chain.proofs().iter().enumerate() {
            if let Some(successor) = self.ended.dropped(link.id(), link) {
                return Err(Flaw::Succeeded { index, successor });
            }
        }
        chain.at(at, self.skew)?;
        if let Some(provider) = provider {
            self.honoured(&chain, provider)?;
        }
        Ok(chain)
    }

    /// Refuses a grant that does not hold now and will not.
    pub(super) fn sound(&self, grant: &Grant) -> Result<(), Flaw> {
        let begins = grant.links().iter().filter_map(|link| link.nbf).max();
        self.verify(grant, begins.map_or(self.now, |begins| begins.max(self.now)), None).map(drop)
    }

    fn honoured(&self, chain: &Chain, provider: &Did) -> Result<(), Flaw> {
        let subject = *chain.subject();
        let own = self.is_me(provider);
        let owner = own && self.owners.iter().any(|owner| self.ended.means(owner, &subject));
        if !self.ended.means(&subject, provider) && !owner {
            return Err(Flaw::Elsewhere { subject, provider: *provider });
        }
        let denied = |link: &Proof| own && self.deny.iter().any(|one| self.ended.means(one, &link.iss));
        match chain.proofs().iter().enumerate().find(|(_, link)| denied(link)) {
            Some((index, link)) => Err(Flaw::Denied { index, issuer: link.iss }),
            None => Ok(()),
        }
    }

    /// How it stands now with each delegation of a grant, root first.
    pub fn states(&self, grant: &Grant) -> Vec<State> {
        let issuers: Vec<Did> = grant.links().iter().map(|link| link.iss).collect();
        let links = grant.links().iter().enumerate();
        links.map(|(at, link)| self.state_of(link, issuers.get(..=at).unwrap_or_default())).collect()
    }

    fn state_of(&self, link: &Proof, issuers: &[Did]) -> State {
        if let Some(by) = self.ended.revoked_by(link.id(), issuers) {
            return State::Revoked(by);
        }
        if let Some(by) = self.ended.dropped(link.id(), link) {
            return State::Succeeded(by);
        }
        match (link.nbf, link.exp) {
            (_, Some(exp)) if self.now > exp.saturating_add(self.skew) => State::Expired(exp),
            (Some(nbf), _) if self.now.saturating_add(self.skew) < nbf => State::NotYet(nbf),
            _ => State::Valid,
        }
    }

    /// How it stands now with a grant: as with the first of its delegations that does not hold.
    pub fn state(&self, grant: &Grant) -> State {
        let first = self.states(grant).into_iter().find(|state| *state != State::Valid);
        first.unwrap_or_else(|| match self.verify(grant, self.now, None) {
            Ok(_) => State::Valid,
            Err(_) => State::Broken,
        })
    }

    /// The grants kept here, the one kept last first, at most `limit`; those of this home's former keys come last.
    pub fn list(&self, which: Which, limit: usize) -> Result<Vec<Listed>, GrantError> {
        let store = self.home.store();
        let mut proofs: Vec<Proof> = Vec::new();
        for did in self.home.former().iter().map(|former| former.did).chain([self.me()]).rev() {
            let found = match which {
                Which::Held => store.delegations_to(&did, limit)?,
                Which::Issued => store.delegations_by(&did, limit)?,
                Which::Own => store.delegations_of(&did, limit)?,
                Which::All => store.delegations(limit)?,
            };
            for proof in found.into_iter().map(Proof::from) {
                // How a former key handed over to the next is nothing that anybody was let do.
                let handover = self.is_me(&proof.iss) && self.is_me(&proof.aud) && which != Which::All;
                let seen = proofs.iter().any(|seen| seen.id() == proof.id());
                if proofs.len() < limit && !handover && !seen {
                    proofs.push(proof);
                }
            }
            if which == Which::All {
                break;
            }
        }
        proofs.into_iter().map(|proof| self.listed(proof)).collect()
    }

    fn listed(&self, last: Proof) -> Result<Listed, GrantError> {
        let grant = match self.chain_of(last.clone()) {
            Ok(grant) => Some(grant).filter(|grant| grant.subject().is_some()),
            Err(GrantError::Incomplete { .. }) => None,
            Err(e) => return Err(e),
        };
        let links = grant.as_ref().map_or(std::slice::from_ref(&last), Grant::links);
        let until = links.iter().filter_map(|link| link.exp).min();
        let terms: Vec<Terms> = links.iter().map(|link| Terms::read(&link.pol)).collect();
        let what = self.brief(&Terms::effective(&terms));
        let state = match &grant {
            Some(grant) => self.state(grant),
            None => self.state_of(&last, &[last.iss]),
        };
        let spent = self.spent(last.id())?;
        Ok(Listed { state, until, what, spent, grant, last })
    }

    /// What may be run, in a few words.
    fn brief(&self, terms: &Terms) -> String {
        let mut words = vec![match &terms.capability {
            None => "anything".to_owned(),
            Some(any) => several(any, |one| match one {
                Capability::Component(id) => {
                    let id = id.to_string();
                    format!("component …{}", id.get(id.len().saturating_sub(8)..).unwrap_or_default())
                }
                Capability::Named { name, version: None, .. } => name.to_string(),
                Capability::Named { name, version: Some(version), .. } => format!("{name}@{version}"),
                Capability::Interface(interface) => interface.to_string(),
            }),
        }];
        if let Some(functions) = &terms.functions {
            words.push(several(functions, |f| f.name().to_owned()));
        }
        if !terms.input.is_empty() || !terms.other.is_empty() {
            words.push("on conditions".to_owned());
        }
        let mut most = |n: Option<u64>, of: &str| words.extend(n.map(|n| format!("{} {of}", Count(n))));
        most(terms.limits.fuel, "fuel each");
        most(terms.spent.actions, "times");
        most(terms.spent.fuel, "fuel in all");
        match &terms.permissions {
            None => words.push("any permissions".to_owned()),
            Some(some) if !some.is_empty() => words.push(several(some, ToString::to_string)),
            Some(_) => {}
        }
        words.join(", ")
    }
}

fn several<T>(items: &BTreeSet<T>, text: impl Fn(&T) -> String) -> String {
    let all: Vec<_> = items.iter().map(text).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(" or ") }
}

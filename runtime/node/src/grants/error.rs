//! What is wrong with a grant, and why one was not made, kept or ended.

use crate::{home::HomeError, resolve::ResolveError};
use actum_model::{
    DecodeError, DelegationId, Did,
    grant::Widened,
    name::NameError,
    release::FunctionLookupError,
    ucan::{ChainError, PolicyError, RevocationError, container::ContainerError},
};
use actum_store::StoreError;
use std::{fmt::Write, io};

/// Why a grant does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// As UCAN has it: signatures, order, times, revocations.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A delegation says more than those above it.
    #[error(transparent)]
    Widened(#[from] Widened),
    /// The issuer's key has a successor, which did not keep the delegation.
    #[error("proof {index} is by a key that {successor} has succeeded, without keeping it")]
    Succeeded {
        /// Which delegation, from 0 at the root.
        index: usize,
        /// The key that came after.
        successor: Did,
    },
    /// The provider asked about gives nothing for it.
    #[error("it gives what {subject} may give, which is not {provider}")]
    Elsewhere {
        /// Whose authority it passes on.
        subject: Did,
        /// Who would be shown it.
        provider: Did,
    },
    /// One of its issuers is denied everything by this home's configuration.
    #[error("proof {index} is by {issuer}, whom this home's configuration denies everything")]
    Denied {
        /// Which delegation, from 0 at the root.
        index: usize,
        /// Who issued it.
        issuer: Did,
    },
}

impl Flaw {
    /// Its name among UCAN implementations.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chain(e) => e.name(),
            Self::Widened(_) | Self::Denied { .. } => "InvalidClaim",
            Self::Succeeded { .. } => "Revoked",
            Self::Elsewhere { .. } => "InvalidSubject",
        }
    }

    /// In words for people, with what keys are called here and times as they write them.
    pub fn words(&self, name: &dyn Fn(&Did) -> String, time: &dyn Fn(u64) -> String) -> String {
        let which = |index: usize| format!("delegation {} of the chain", index + 1);
        let link = |link: &actum_model::ucan::Link| link.0.map_or_else(|| link.to_string(), which);
        match self {
            Self::Chain(ChainError::Expired { link: at, exp, .. }) => {
                format!("{} ended: it held until {}", link(at), time(*exp))
            }
            Self::Chain(ChainError::TooEarly { link: at, nbf, .. }) => {
                format!("{} does not hold yet: it begins {}", link(at), time(*nbf))
            }
            Self::Chain(ChainError::Revoked { index, revoker, .. }) => {
                format!("{} was revoked by {}", which(*index), name(revoker))
            }
            Self::Succeeded { index, successor } => {
                let by = name(successor);
                format!("{} is by a key that {by} has succeeded, without keeping it", which(*index))
            }
            Self::Elsewhere { subject, provider } => {
                let (subject, provider) = (name(subject), name(provider));
                format!("it is worth nothing to {provider}: it gives what {subject} may give")
            }
            other => other.to_string(),
        }
    }
}

/// Why a grant was not made, found, kept or ended.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Nothing here has that id, and no file that name.
    #[error("{text:?} is neither a file nor the id of a grant in this home")]
    NotFound {
        /// What was typed.
        text: String,
    },
    /// Several delegations' ids begin or end so.
    #[error("several grants match {text:?}: {}", matches.join(", "))]
    Ambiguous {
        /// What was typed.
        text: String,
        /// Their ids.
        matches: Vec<String>,
    },
    /// A file could not be read.
    #[error("cannot read {what}")]
    Read {
        /// Its name.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are no chain of delegations that verify.
    #[error("this is not a grant")]
    Container(#[source] ContainerError),
    /// No delegation at all.
    #[error("this grants nothing: there is no delegation in it")]
    Empty,
    /// What comes above a delegation is not here.
    #[error("the grant that {id} rests on, to {issuer}, is not in this home")]
    Incomplete {
        /// The delegation.
        id: DelegationId,
        /// Who issued it.
        issuer: Did,
    },
    /// The grant does not hold.
    #[error("the grant does not hold ({})", .0.name())]
    Flaw(#[from] Flaw),
    /// It would say more than the grant it rests on.
    #[error(transparent)]
    Widening(actum_model::grant::Widening),
    /// Not a did:key, nor a name of one.
    #[error("{text:?} is not a did:key, a name, or name=did:key")]
    NotSomebody {
        /// What was typed.
        text: String,
    },
    /// Nobody is called so here.
    #[error("nobody is called {name:?} here")]
    Nobody {
        /// What was typed.
        name: String,
    },
    /// A name that would be taken for this home's own.
    #[error("{name:?} is what this home calls itself")]
    OwnName {
        /// What was typed.
        name: String,
    },
    /// A name that cannot be given.
    #[error(transparent)]
    Name(StoreError),
    /// Whoever is to be given something has it by their own.
    #[error("{to} has it already: it passes through that key")]
    HasIt {
        /// Who.
        to: Did,
    },
    /// A grant to somebody else cannot be handed on, or kept.
    #[error("this grant is to {to}, not to this home")]
    NotToYou {
        /// Whose it is.
        to: Did,
    },
    /// This home's key issued neither the delegation nor one above it.
    #[error("{id} is not this home's to revoke: only {} may", list(may))]
    NotYours {
        /// The delegation.
        id: DelegationId,
        /// Who may, root first.
        may: Vec<Did>,
    },
    /// The times of a grant contradict one another, or are past.
    #[error("{0}")]
    Times(String),
    /// The author of a capability is not known.
    #[error("the author of {name} is not known here")]
    Author {
        /// The capability.
        name: String,
        /// Why not.
        source: Box<ResolveError>,
    },
    /// The capability has no such function.
    #[error(transparent)]
    Function(#[from] FunctionLookupError),
    /// Not a function's name.
    #[error(transparent)]
    FunctionName(#[from] NameError),
    /// The terms cannot be said.
    #[error("the conditions cannot be said")]
    Policy(#[from] PolicyError),
    /// Too much for one delegation.
    #[error("the grant cannot be signed")]
    Sign(#[source] DecodeError),
    /// The revocation could not be made.
    #[error("the revocation cannot be made")]
    Revocation(#[from] RevocationError),
    /// This home's key could not be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GrantError {
    /// A name refused, told from a store that failed.
    pub(super) fn name(error: StoreError) -> Self {
        match error {
            e @ (StoreError::BadName { .. } | StoreError::NameTaken { .. }) => Self::Name(e),
            e => Self::Store(e),
        }
    }
}

fn list(dids: &[Did]) -> String {
    dids.iter().fold(String::new(), |mut text, did| {
        let _ = write!(text, "{}{did}", if text.is_empty() { "" } else { " or " });
        text
    })
}

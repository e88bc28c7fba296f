//! Chains of delegations: whether one leads from a subject to an invoker, and what it allows them when.
//!
//! Source: UCAN Delegation 1.0.0, "Token Validation", and UCAN Invocation, "Proof Chains". The pieces stand alone, so
//! that a chain is put together once ([`Chain::of`]), and its times, revocations and policies are looked at as often as
//! needed; [`validate`] is all of it for an ordinary invocation.

use super::{Args, Budget, Command, Invocation, MAX_CHAIN, Proof, Unmet};
use crate::{DelegationId, Did, EnvelopeError, Signed};
use std::{borrow::Borrow, fmt, sync::Arc};

/// Which link of a chain a refusal is about, from 0 at the root; `None` for the invocation itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link(pub Option<usize>);

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(n) => write!(f, "proof {n}"),
            None => f.write_str("the invocation"),
        }
    }
}

/// Why an invocation is not proved by its chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A token is not what it says it is: its bytes, or its signature.
    #[error("{link}: {source}")]
    Token {
        /// Which token.
        link: Link,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// Nobody delegated, and the invoker is not the subject.
    #[error("{invoker} shows no proof that they may act for {subject}")]
    NoProof {
        /// Who asks.
        invoker: Did,
        /// Whose authority they ask for.
        subject: Did,
    },
    /// More delegations than a chain may have.
    #[error("{actual} proofs where at most {MAX_CHAIN} are allowed")]
    TooLong {
        /// How many there are.
        actual: usize,
    },
    /// The first delegation names no subject: there is no authority it could pass on.
    #[error("proof 0, by {issuer}, names no subject, as only a later one may")]
    RootPowerline {
        /// Who issued it.
        issuer: Did,
    },
    /// A proof that the invocation names is not at hand.
    #[error("{link}, {id}, is not at hand")]
    UnavailableProof {
        /// Which one.
        link: Link,
        /// Its id.
        id: DelegationId,
    },
    /// A delegation is not to whoever uses it.
    #[error("proof {index} is to {audience}, and used by {user}")]
    InvalidAudience {
        /// Which delegation.
        index: usize,
        /// To whom it is.
        audience: Did,
        /// Who issued the next one, or invokes.
        user: Did,
    },
    /// A delegation is about another subject's authority.
    #[error("proof {index} is about {found}, and the subject is {subject}")]
    InvalidSubject {
        /// Which delegation.
        index: usize,
        /// Whose authority it passes on; at the root, who issued it.
        found: Did,
        /// Whose authority is asked for.
        subject: Did,
    },
    /// A delegation is of another command.
    #[error("proof {index} is for {delegated}, which does not cover {invoked}")]
    Command {
        /// Which delegation.
        index: usize,
        /// The command it delegates.
        delegated: Command,
        /// The command invoked.
        invoked: Command,
    },
    /// A token is no longer valid.
    #[error("{link} expired at {exp}; it is {now}, in seconds since the Unix epoch, give or take {skew}")]
    Expired {
        /// Which token.
        link: Link,
        /// The last second of its validity.
        exp: u64,
        /// The time.
        now: u64,
        /// The seconds by which clocks may differ.
        skew: u64,
    },
    /// A delegation is not valid yet.
    #[error("{link} is valid from {nbf}; it is {now}, in seconds since the Unix epoch, give or take {skew}")]
    TooEarly {
        /// Which token.
        link: Link,
        /// The first second of its validity.
        nbf: u64,
        /// The time.
        now: u64,
        /// The seconds by which clocks may differ.
        skew: u64,
    },
    /// A delegation was revoked by somebody who may.
    #[error("proof {index}, {id}, was revoked by {revoker}")]
    Revoked {
        /// Which delegation.
        index: usize,
        /// Its id.
        id: DelegationId,
        /// Who revoked it.
        revoker: Did,
    },
    /// The arguments are not what a delegation allows.
    #[error("proof {index}, by {issuer}: {unmet}")]
    Policy {
        /// Which delegation.
        index: usize,
        /// Who issued it.
        issuer: Did,
        /// What is not met.
        unmet: Unmet,
    },
}

impl ChainError {
    /// The error's name among UCAN implementations, as the published test vectors have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Token {
                source: EnvelopeError::BadSignature { .. } | EnvelopeError::SignatureLength { .. },
                ..
            } => "InvalidSignature",
            Self::Token { .. }
            | Self::NoProof { .. }
            | Self::TooLong { .. }
            | Self::RootPowerline { .. }
            | Self::Command { .. } => "InvalidClaim",
            Self::UnavailableProof { .. } => "UnavailableProof",
            Self::InvalidAudience { .. } => "InvalidAudience",
            Self::InvalidSubject { .. } => "InvalidSubject",
            Self::Expired { .. } => "Expired",
            Self::TooEarly { .. } => "TooEarly",
            Self::Revoked { .. } => "Revoked",
            Self::Policy { .. } => "MatchError",
        }
    }
}

/// Which delegations were revoked, and by whom.
pub trait Revocations {
    /// Who revoked the delegation, if one of `above` did: its issuer, and the issuers of those it rests on, root first.
    ///
    /// A revocation by anybody else says nothing about this chain.
    fn revoked(&self, id: &DelegationId, above: &[Did]) -> Option<Did>;
}

impl<F: Fn(&DelegationId, &[Did]) -> Option<Did>> Revocations for F {
    fn revoked(&self, id: &DelegationId, above: &[Did]) -> Option<Did> {
        self(id, above)
    }
}

/// Delegations, each verified, that lead from a subject to an invoker. Clones share them.
///
/// That it exists says so much; whether it is valid now, and for what, is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    subject: Did,
    invoker: Did,
    proofs: Arc<[Proof]>,
    issuers: Arc<[Did]>,
}

impl Chain {
    /// Puts delegations together, root first. None at all are right for a subject who invokes.
    ///
    /// The root is issued by `subject` about itself, each one to the issuer of the next, the last to `invoker`, and all
    /// are about `subject` or, but for the root, about whatever came before.
    pub fn of(proofs: Vec<Proof>, subject: &Did, invoker: &Did) -> Result<Self, ChainError> {
        let (subject, invoker) = (*subject, *invoker);
        if proofs.len() > MAX_CHAIN {
            return Err(ChainError::TooLong { actual: proofs.len() });
        }
        let Some(root) = proofs.first() else {
            return if subject == invoker {
                Ok(Self { subject, invoker, proofs: Arc::new([]), issuers: Arc::new([]) })
            } else {
                Err(ChainError::NoProof { invoker, subject })
            };
        };
        if root.sub.is_none() {
            return Err(ChainError::RootPowerline { issuer: root.iss });
        }
        for (index, proof) in proofs.iter().enumerate() {
            if let Some(found) = proof.sub.filter(|found| *found != subject) {
                return Err(ChainError::InvalidSubject { index, found, subject });
            }
            let user = proofs.get(index + 1).map_or(invoker, |next| next.iss);
            if proof.aud != user {
                return Err(ChainError::InvalidAudience { index, audience: proof.aud, user });
            }
        }
        if root.iss != subject {
            return Err(ChainError::InvalidSubject { index: 0, found: root.iss, subject });
        }
        let issuers = proofs.iter().map(|p| p.iss).collect();
        Ok(Self { subject, invoker, proofs: proofs.into(), issuers })
    }

    /// Whose authority it passes on.
    pub fn subject(&self) -> &Did {
        &self.subject
    }

    /// To whom.
    pub fn invoker(&self) -> &Did {
        &self.invoker
    }

    /// The delegations, root first.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// Their ids, root first, as an invocation's `prf` has them.
    pub fn ids(&self) -> Vec<DelegationId> {
        self.proofs.iter().map(|p| *p.id()).collect()
    }

    /// The last second at which all are valid, by the issuers' clocks; `None` if no delegation ends.
    pub fn until(&self) -> Option<u64> {
        self.proofs.iter().filter_map(|p| p.exp).min()
    }

    /// Whether every delegation covers a command.
    pub fn covers(&self, command: &Command) -> Result<(), ChainError> {
        match self.proofs.iter().position(|p| !p.cmd.covers(command)) {
            None => Ok(()),
            Some(index) => Err(ChainError::Command {
                index,
                delegated: self.proofs.get(index).map_or_else(Command::top, |p| p.cmd.clone()),
                invoked: command.clone(),
            }),
        }
    }

    /// Whether every delegation is valid at `now`, in seconds since the Unix epoch, on clocks that differ by up to `skew`
    /// seconds: from `nbf` to `exp`, both included, and `skew` longer at both ends.
    pub fn at(&self, now: u64, skew: u64) -> Result<(), ChainError> {
        for (index, proof) in self.proofs.iter().enumerate() {
            within(Link(Some(index)), proof.nbf, proof.exp, now, skew)?;
        }
        Ok(())
    }

    /// Whether no delegation was revoked by its issuer, or by one above.
    pub fn standing(&self, revocations: &impl Revocations) -> Result<(), ChainError> {
        for (index, proof) in self.proofs.iter().enumerate() {
            let above = self.issuers.get(..=index).unwrap_or_default();
            if let Some(revoker) = revocations.revoked(proof.id(), above) {
                return Err(ChainError::Revoked { index, id: *proof.id(), revoker });
            }
        }
        Ok(())
    }

    /// Whether every delegation's policy is met by the arguments that `args` gives for it; it is asked with the
    /// delegation and its place, root first.
    pub fn judge<A: Borrow<Args>>(
        &self,
        mut args: impl FnMut(usize, &Proof) -> A,
        budget: &mut Budget,
    ) -> Result<(), ChainError> {
        for (index, proof) in self.proofs.iter().enumerate() {
            if proof.pol.statements.is_empty() {
                continue;
            }
            let seen = args(index, proof);
            let judged = proof.pol.check(seen.borrow(), budget);
            judged.map_err(|unmet| ChainError::Policy { index, issuer: proof.iss, unmet })?;
        }
        Ok(())
    }
}

/// Whether a token is valid at a time: from `nbf` to `exp`, both included, and `skew` seconds longer at both ends.
pub fn within(link: Link, nbf: Option<u64>, exp: Option<u64>, now: u64, skew: u64) -> Result<(), ChainError> {
    if let Some(nbf) = nbf.filter(|nbf| now.saturating_add(skew) < *nbf) {
        return Err(ChainError::TooEarly { link, nbf, now, skew });
    }
    if let Some(exp) = exp.filter(|exp| now > exp.saturating_add(skew)) {
        return Err(ChainError::Expired { link, exp, now, skew });
    }
    Ok(())
}

/// Validates an invocation with the proofs it names, at a time: everything UCAN asks for but revocation, for which see
/// [`Chain::standing`], and but whom the invocation is for (`aud`), which the executor knows.
///
/// `proof` finds a verified delegation by its id, or says what is wrong with the bytes it found.
pub fn validate(
    invocation: &Signed<Invocation>,
    proof: impl Fn(&DelegationId) -> Option<Result<Proof, EnvelopeError>>,
    now: u64,
    skew: u64,
    budget: &mut Budget,
) -> Result<Chain, ChainError> {
    let invocation = invocation.payload();
    within(Link(None), None, invocation.exp, now, skew)?;
    let mut proofs = Vec::with_capacity(invocation.prf.len());
    for (index, id) in invocation.prf.iter().enumerate() {
        let link = Link(Some(index));
        let found = proof(id).ok_or(ChainError::UnavailableProof { link, id: *id })?;
        let found = found.map_err(|source| ChainError::Token { link, source })?;
        if found.id() != id {
            return Err(ChainError::UnavailableProof { link, id: *id });
        }
        proofs.push(found);
    }
    let chain = Chain::of(proofs, &invocation.sub, &invocation.iss)?;
    chain.covers(&invocation.cmd)?;
    chain.at(now, skew)?;
    chain.judge(|_, _| &invocation.args, budget)?;
    Ok(chain)
}

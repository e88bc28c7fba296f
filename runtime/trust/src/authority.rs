//! By what authority an action ran: what of that can be checked offline, and what remains its provider's word.
//!
//! A receipt names the request it answers and the delegations it ran by. Whoever has them checks here what the provider
//! checked before it ran the action, but for what only the provider could see: which offers were public, what was revoked
//! by then, how much of a grant was used up.

use crate::{Inconsistency, consistency::same_action};
use actum_model::{
    Authority, Claim, DelegationId, Did, Invocation, InvocationId, Param, Proof, Receipt, Release, RunArgs,
    Signed,
    grant::{self, Widened},
    run::{self, RunError, Use},
    ucan::{Args, Budget, Chain, ChainError, Policy, Unmet, policy::Statement},
};
use std::fmt;

/// The seconds by which the clocks of a provider, a requester and whoever delegated may differ.
pub const CLOCK_SKEW_SECONDS: u64 = 60;

/// What is at hand besides the receipt. The less there is, the less is proven; nothing becomes false by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtHand<'a> {
    /// The signed request.
    pub invocation: Option<&'a Signed<Invocation>>,
    /// Delegations, in any order; those that the receipt does not name are not looked at.
    pub proofs: &'a [Proof],
    /// The release under which the component was called.
    pub release: Option<&'a Release>,
    /// The parameters of the function, and the canonical encoding of its arguments.
    pub input: Option<(&'a [Param], &'a [u8])>,
}

/// What is proven of a receipt's authority, and what is not. [`Self::unproven`] has the latter in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// What is proven.
    pub how: How,
    /// What only the provider could see, or what is not at hand.
    pub unproven: Vec<Unproven>,
}

/// What is proven of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Whoever asked is who ran it and signed: nobody's authority but their own was needed.
    Own,
    /// The request is the requester's, and for this provider and this very action. It rests on no delegation.
    Requested,
    /// And the chain of delegations gives the requester this action.
    Granted {
        /// Whose authority the chain passes on.
        root: Did,
    },
}

/// Something for which there is the provider's word alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// That its owner had made the offer public.
    Public,
    /// That its owner had listed the requester as a caller.
    Listed,
    /// That the provider answers for what this key gives: it is one of its owners', or was its own.
    Root(Did),
    /// That nobody of the chain had revoked it by then.
    Standing,
    /// That so much was left of a delegation.
    Usage {
        /// Which of the chain, from 1 at the root.
        position: usize,
        /// The clause, as [`grant::clause`] has it.
        clause: String,
    },
    /// That the arguments are as a delegation wants them: they, or their types, are not at hand.
    Input {
        /// Which of the chain, from 1 at the root.
        position: usize,
        /// The clause, as [`grant::clause`] has it.
        clause: String,
    },
    /// That the component is what this release calls by its name, as the request says: that release is not at hand.
    Release(Box<Claim>),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("whoever asked is who ran it"),
            Self::Requested => {
                f.write_str("the request is the requester's, for this provider and this very action")
            }
            Self::Granted { .. } => {
                f.write_str("the request is the requester's, and the chain gives them this very action")
            }
        }
    }
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("that the offer was public"),
            Self::Listed => f.write_str("that the requester was listed as a caller"),
            Self::Root(root) => write!(f, "that it answers for what {root} gives"),
            Self::Standing => f.write_str("that nothing of the chain was revoked by then"),
            Self::Usage { position, clause } => {
                write!(f, "that delegation {position} was not used up ({clause})")
            }
            Self::Input { position, clause } => {
                write!(f, "that the arguments are as delegation {position} wants them ({clause})")
            }
            Self::Release(claim) => {
                write!(
                    f,
                    "that the component is {}@{} by {}",
                    claim.name.as_str(),
                    claim.version,
                    claim.author
                )
            }
        }
    }
}

/// Why the authority that a receipt names is not proven: something is [not at hand](Self::is_missing), or it is false.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The request that the receipt names is not at hand.
    #[error("the invocation {id} is not at hand")]
    NoInvocation {
        /// Its id.
        id: InvocationId,
    },
    /// A delegation that the receipt names is not at hand.
    #[error("delegation {position} of the chain, {id}, is not at hand")]
    NoProof {
        /// Which, from 1 at the root.
        position: usize,
        /// Its id.
        id: DelegationId,
    },
    /// It says that it ran for its own provider, and names another requester.
    #[error("it is said to have run for its own provider: {requester} asked, {provider} signed")]
    NotOwn {
        /// Who asked.
        requester: Did,
        /// Who signed.
        provider: Did,
    },
    /// It names a request though nobody sent one, or none though somebody did.
    #[error("the receipt names {} where its authority wants {}", one(*names), one(!*names))]
    Request {
        /// Whether it names one.
        names: bool,
    },
    /// What was given as the request is another.
    #[error("the receipt names the invocation {named}; given is {given}")]
    OtherInvocation {
        /// What the receipt names.
        named: Box<InvocationId>,
        /// What was given.
        given: Box<InvocationId>,
    },
    /// What it answers asks for no action.
    #[error("the invocation asks for no action: {0}")]
    NoAction(#[source] RunError),
    /// The request is for another provider.
    #[error("the invocation is for {asked}; {provider} signed the receipt")]
    OtherProvider {
        /// Who was asked.
        asked: Did,
        /// Who signed.
        provider: Did,
    },
    /// The request is for another action.
    #[error("the invocation asks for another action: {0}")]
    OtherAction(#[source] Box<Inconsistency>),
    /// The receipt is older than what it answers.
    #[error(
        "the invocation was made at {asked}, the receipt at {receipt}, in seconds since the Unix epoch, give or take {CLOCK_SKEW_SECONDS}"
    )]
    Before {
        /// When it was asked for.
        asked: u64,
        /// When the receipt was issued.
        receipt: u64,
    },
    /// The request shows other delegations than the receipt says it ran by.
    #[error("the invocation shows {shown} delegations, which are not the {named} that the receipt names")]
    OtherChain {
        /// How many the invocation names.
        shown: usize,
        /// How many the receipt names.
        named: usize,
    },
    /// The delegations are no chain to the requester, do not cover the command, were not valid then, or do not allow
    /// this action.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A delegation says more than those above it.
    #[error(transparent)]
    Widened(#[from] Widened),
    /// What the action was given cannot be shown to policies.
    #[error("what the action was given cannot be judged: {0}")]
    Given(#[source] RunError),
}

fn one(names: bool) -> &'static str {
    if names { "a request" } else { "none" }
}

impl AuthorityError {
    /// Whether nothing is wrong as far as can be seen, but something that it takes to see more is not at hand.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NoInvocation { .. } | Self::NoProof { .. })
    }

    /// The check that failed, as programs know it.
    pub fn check(&self) -> &'static str {
        match self {
            Self::NoInvocation { .. } | Self::NoProof { .. } => "not-at-hand",
            Self::NotOwn { .. } => "own",
            Self::Request { .. } | Self::OtherInvocation { .. } | Self::NoAction(_) => "invocation",
            Self::OtherProvider { .. } => "provider",
            Self::OtherAction(_) => "action",
            Self::Before { .. } => "time",
            Self::OtherChain { .. } => "chain",
            Self::Chain(error) => match error {
                ChainError::Command { .. } => "command",
                ChainError::Expired { .. } | ChainError::TooEarly { .. } => "time",
                ChainError::Policy { .. } => "policy",
                _ => "chain",
            },
            Self::Widened(_) => "narrowing",
            Self::Given(_) => "policy",
        }
    }
}

/// Checks by what authority a receipt says its action ran, with what is at hand: the first thing that does not hold.
///
/// Clocks may differ by [`CLOCK_SKEW_SECONDS`]. A chain must have been valid when the action began, which was at some
/// moment between its request and its receipt that only the provider saw: it is false if it cannot have been.
/// What is false is said before what is missing, as far as it can be seen.
pub fn authority(receipt: &Receipt, at_hand: &AtHand<'_>) -> Result<Proven, AuthorityError> {
    let (requester, provider) = (receipt.action.requester, receipt.iss);
    let own = receipt.authority.is_own();
    let named = match (receipt.invocation, own) {
        (None, true) if requester == provider => return Ok(Proven { how: How::Own, unproven: Vec::new() }),
        (None, true) => return Err(AuthorityError::NotOwn { requester, provider }),
        (Some(named), false) => named,
        (names, _) => return Err(AuthorityError::Request { names: names.is_some() }),
    };
    let ids: &[DelegationId] = match &receipt.authority {
        Authority::Granted(ids) => ids,
        _ => &[],
    };
    let asked = at_hand.invocation.map(|given| request(receipt, &named, given, ids)).transpose()?;
    // A chain by itself says something too, even without the request.
    let chain = match ids.is_empty() {
        true => Ok(None),
        false => match chain(receipt, ids, at_hand) {
            Err(error) if !error.is_missing() => return Err(error),
            found => found.map(Some),
        },
    };
    let asked = asked.ok_or(AuthorityError::NoInvocation { id: named })?;
    let mut unproven = match &receipt.authority {
        Authority::Public => vec![Unproven::Public],
        Authority::Listed => vec![Unproven::Listed],
        _ => Vec::new(),
    };
    let Some(chain) = chain? else {
        return Ok(Proven { how: How::Requested, unproven });
    };
    judge(receipt, &asked, &chain, at_hand, &mut unproven)?;
    Ok(Proven { how: How::Granted { root: *chain.subject() }, unproven })
}

/// What the request says, where it is the one that the receipt answers.
pub(crate) struct Request<'a> {
    invocation: &'a Invocation,
    claim: Claim,
}

/// Reads the request at hand, where it is the one that the receipt answers, for the provider and the action that it says.
pub(crate) fn request<'a>(
    receipt: &Receipt,
    named: &InvocationId,
    given: &'a Signed<Invocation>,
    ids: &[DelegationId],
) -> Result<Request<'a>, AuthorityError> {
    let id = given.id();
    if id != *named {
        let (named, given) = (Box::new(*named), Box::new(id));
        return Err(AuthorityError::OtherInvocation { named, given });
    }
    let invocation = given.payload();
    let (action, claim) = RunArgs::read(invocation).map_err(AuthorityError::NoAction)?;
    if let Some(asked) = invocation.aud.filter(|aud| *aud != receipt.iss) {
        return Err(AuthorityError::OtherProvider { asked, provider: receipt.iss });
    }
    same_action(&action, &receipt.action).map_err(AuthorityError::OtherAction)?;
    let asked = invocation.iat.unwrap_or(0);
    if receipt.iat.saturating_add(CLOCK_SKEW_SECONDS) < asked {
        return Err(AuthorityError::Before { asked, receipt: receipt.iat });
    }
    // One that shows none leaves it to the provider to find the requester's grant in its own home.
    if !invocation.prf.is_empty() && invocation.prf != ids {
        return Err(AuthorityError::OtherChain { shown: invocation.prf.len(), named: ids.len() });
    }
    Ok(Request { invocation, claim })
}

/// The delegations that the receipt names, as a chain to the requester that may have been valid and says no more than it
/// has.
fn chain(receipt: &Receipt, ids: &[DelegationId], at_hand: &AtHand<'_>) -> Result<Chain, AuthorityError> {
    let found = (1..).zip(ids).map(|(position, id)| {
        let proof = at_hand.proofs.iter().find(|proof| proof.id() == id);
        proof.cloned().ok_or(AuthorityError::NoProof { position, id: *id })
    });
    let proofs = found.collect::<Result<Vec<_>, _>>()?;
    let invocation = at_hand.invocation.map(Signed::payload);
    let shown = invocation.filter(|invocation| !invocation.prf.is_empty());
    let root = proofs.first().map_or(receipt.iss, |root| root.iss);
    let subject = shown.map_or(root, |invocation| invocation.sub);
    let chain = Chain::of(proofs, &subject, &receipt.action.requester)?;
    chain.covers(&RunArgs::command())?;
    chain.at(began(receipt.iat, invocation, &chain), CLOCK_SKEW_SECONDS)?;
    let links: Vec<_> = chain.proofs().iter().map(|proof| proof.signed().payload()).collect();
    grant::check_chain(&links)?;
    Ok(chain)
}

/// The first moment, by the provider's clock, at which the action can have begun by a chain that had begun: the best for
/// one that ended.
fn began(receipt: u64, invocation: Option<&Invocation>, chain: &Chain) -> u64 {
    let asked = invocation.and_then(|invocation| invocation.iat);
    let from = chain.proofs().iter().filter_map(|proof| proof.nbf).chain(asked).max();
    // Without the request nobody knows how long before its receipt it began.
    let first = from.unwrap_or(0).saturating_sub(CLOCK_SKEW_SECONDS);
    let ended =
        invocation.and_then(|invocation| invocation.exp).map(|end| end.saturating_add(CLOCK_SKEW_SECONDS));
    first.min(ended.map_or(receipt, |ended| ended.min(receipt)))
}

/// Whether the policies of a chain are met by what was given, as far as that can be seen here.
fn judge(
    receipt: &Receipt,
    asked: &Request<'_>,
    chain: &Chain,
    at_hand: &AtHand<'_>,
    unproven: &mut Vec<Unproven>,
) -> Result<(), AuthorityError> {
    if *chain.subject() != receipt.iss {
        unproven.push(Unproven::Root(*chain.subject()));
    }
    unproven.push(Unproven::Standing);
    let named = |(_, args): &(_, &[u8])| receipt.action.args.names(args);
    let input = at_hand.input.filter(named).and_then(|(params, args)| run::input_of(params, args).ok());
    let seen = input.is_some();
    let first = Use { actions: 1, fuel: receipt.action.most_fuel() };
    let mut args = run::policy_args(asked.invocation, input, first, first);
    if !receipt.withheld.is_empty() {
        run::ask_for(&mut args, &receipt.given()).map_err(AuthorityError::Given)?;
    }
    let mut named_in_policies = false;
    let mut budget = Budget::new(Budget::STEPS);
    for (index, proof) in chain.proofs().iter().enumerate() {
        let position = index + 1;
        for (number, statement) in proof.pol.statements.iter().enumerate() {
            named_in_policies |= ["author", "name", "version"].iter().any(|key| statement.mentions(key));
            if grant::is_exhaustion(statement) {
                unproven.push(Unproven::Usage { position, clause: grant::clause(statement) });
            } else if statement.mentions("input") && !seen {
                unproven.push(Unproven::Input { position, clause: grant::clause(statement) });
            } else {
                let unmet = check(number, statement, &args, &mut budget);
                unmet.map_err(|unmet| ChainError::Policy { index, issuer: proof.iss, unmet })?;
            }
        }
    }
    let released = at_hand.release.is_some_and(|release| {
        release.component == receipt.action.component && Claim::of(release) == asked.claim
    });
    if named_in_policies && !released {
        unproven.push(Unproven::Release(Box::new(asked.claim.clone())));
    }
    Ok(())
}

/// Whether one statement holds, which is the `number`th of its policy.
fn check(number: usize, statement: &Statement, args: &Args, budget: &mut Budget) -> Result<(), Unmet> {
    Policy::new(vec![statement.clone()]).check(args, budget).map_err(|unmet| match unmet {
        Unmet::Statement { text, .. } => Unmet::Statement { index: number, text },
        Unmet::Budget { text, .. } => Unmet::Budget { index: number, text },
    })
}

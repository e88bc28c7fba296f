//! Everything a receipt can be checked for without running anything.

use actum_model::{
    Action, Authority, BlobId, DelegationId, Did, InvocationId, Journal, JournalId, Outcome, Permission,
    ProfileId, Receipt, Withdrawal,
    codec::{self, DecodeError},
    permission::check_withheld,
    receipt::Stdio,
};
use serde_bytes::ByteBuf;
use std::{collections::BTreeMap, fmt::Debug};

/// What was asked, of whom, and what came back with the receipt.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who was asked.
    pub provider: Did,
    /// What was asked.
    pub action: &'a Action,
    /// The signed request that was sent, where one was.
    pub invocation: Option<InvocationId>,
    /// The delegations it named as its proofs, root first.
    pub chain: &'a [DelegationId],
    /// The profiles known here.
    pub profiles: &'a [ProfileId],
    /// The output's bytes, where the answer had some.
    pub output: Option<&'a [u8]>,
    /// The journal's bytes.
    pub journal: &'a [u8],
    /// The bodies that came with the journal, as they came: in the order of [`Journal::bodies`].
    pub bodies: &'a [ByteBuf],
    /// The encoded [`Stdio`], where the answer had some.
    pub stdio: Option<&'a [u8]>,
}

/// Where a receipt does not fit the question, its evidence or itself. Both values are given.
#[derive(Debug, thiserror::Error)]
pub enum Inconsistency {
    /// Somebody else signed it.
    #[error("{asked} was asked; {signer} signed the receipt")]
    OtherProvider {
        /// Who was asked.
        asked: Did,
        /// Who signed.
        signer: Did,
    },
    /// It is about another action.
    #[error("the receipt is about another action: {field} was {asked}, the receipt says {receipt}")]
    OtherAction {
        /// The first field that differs.
        field: &'static str,
        /// What was asked.
        asked: String,
        /// What the receipt says.
        receipt: String,
    },
    /// It claims to have run on its requester's own machine, by itself or for a guest there, and another peer signed it.
    #[error("the receipt says it ran locally, for {requester}, but {provider} signed it")]
    NotLocal {
        /// Who asked.
        requester: Did,
        /// Who signed.
        provider: Did,
    },
    /// It ran by its provider's own authority, and yet it names a request; or at another's request, and names none,
    /// another, or another chain.
    #[error("the receipt says it ran by {authority:?}, and names {}", request(invocation))]
    Request {
        /// By what authority it says it ran.
        authority: Box<Authority>,
        /// The request it names.
        invocation: Option<InvocationId>,
    },
    /// Something was withheld that the action does not ask for, or although it was to run with all or not at all.
    #[error("the receipt withholds what it may not: {0}")]
    Withheld(String),
    /// It ran under a profile not known here, so nothing can be said of its result.
    #[error("the receipt's profile {profile} is not known here; known: {}", list(known))]
    UnknownProfile {
        /// The receipt's profile.
        profile: ProfileId,
        /// The profiles known.
        known: Vec<ProfileId>,
    },
    /// The output that came is not the one the outcome names.
    #[error("the receipt names output {}; {} came", or_none(named), or_none(came))]
    Output {
        /// What the receipt names.
        named: Option<BlobId>,
        /// The id of what came.
        came: Option<BlobId>,
    },
    /// The journal that came is not the one the receipt names.
    #[error("the receipt names journal {named}; {came} came")]
    Journal {
        /// What the receipt names.
        named: JournalId,
        /// The id of what came.
        came: JournalId,
    },
    /// The bodies that came are not those the journal names, in the order in which it names them.
    #[error("body {number} of the journal is {}; {} came", or_none(named), or_none(came))]
    Body {
        /// Which, counted from 1.
        number: usize,
        /// What the journal names.
        named: Option<BlobId>,
        /// The id of what came.
        came: Option<BlobId>,
    },
    /// The stdio that came is not the one the receipt names.
    #[error("the receipt names stdio {}; {} came", or_none(named), or_none(came))]
    Stdio {
        /// What the receipt names.
        named: Option<BlobId>,
        /// The id of what came.
        came: Option<BlobId>,
    },
    /// More of something was used than the action allows, and yet the outcome does not say so.
    #[error("{used} of {resource} used where the action allows {limit}")]
    OverLimit {
        /// What was used, by the name of its limit.
        resource: &'static str,
        /// How much was used.
        used: u64,
        /// How much the action allows.
        limit: u64,
    },
    /// The journal named is not the canonical encoding of a journal.
    #[error("the journal cannot be read: {0}")]
    MalformedJournal(#[source] DecodeError),
    /// The stdio named is not the canonical encoding of captured stdio.
    #[error("the stdio cannot be read: {0}")]
    MalformedStdio(#[source] DecodeError),
    /// The guest was told something that nothing it was granted tells.
    #[error("entry {entry} of the journal is of {function}, {}", needs(permission))]
    UngrantedJournal {
        /// Which entry, counted from 1.
        entry: usize,
        /// Its function; the first 100 characters.
        function: String,
        /// The permission it takes. None: nothing that is journalled has this function.
        permission: Option<Permission>,
    },
    /// The journal tells of the end of the authority elsewhere than in its last entry, or otherwise than the outcome.
    #[error(
        "entry {entry} of the journal, of {entries}, says the authority was {}; the outcome says {}",
        withdrawn(journal),
        withdrawn(outcome)
    )]
    Withdrawal {
        /// Which entry, counted from 1; 0 where there is none.
        entry: usize,
        /// How many entries there are.
        entries: usize,
        /// What that entry says.
        journal: Option<Withdrawal>,
        /// What the outcome says.
        outcome: Option<Withdrawal>,
    },
    /// Denied before it was instantiated, and yet it used or left something.
    #[error(
        "denied before it was instantiated, but the receipt says {fuel} fuel, {memory_bytes} bytes of memory"
    )]
    DeniedYetRan {
        /// Fuel the receipt says was burned.
        fuel: u64,
        /// Memory the receipt says was held.
        memory_bytes: u64,
    },
    /// A denial that names nothing, or not sorted and once each.
    #[error("denied, but the imports named are not a sorted list without repeats: [{}]", .0.join(", "))]
    DeniedNothing(Vec<String>),
}

fn or_none(id: &Option<BlobId>) -> String {
    id.as_ref().map_or_else(|| "nothing".to_owned(), BlobId::to_string)
}

fn request(id: &Option<InvocationId>) -> String {
    id.as_ref().map_or_else(|| "no request".to_owned(), |id| format!("the request {id}"))
}

fn withdrawn(how: &Option<Withdrawal>) -> &'static str {
    how.as_ref().map_or("not withdrawn", Withdrawal::code)
}

fn needs(permission: &Option<Permission>) -> String {
    match permission {
        Some(permission) => format!("but the guest was not given {permission}"),
        None => "which is no function that tells a guest anything".to_owned(),
    }
}

fn list(profiles: &[ProfileId]) -> String {
    profiles.iter().map(ProfileId::to_string).collect::<Vec<_>>().join(", ")
}

/// Checks a verified receipt against what was asked, against what came with it, and against itself: the first thing that
/// does not fit.
///
/// A receipt that passes may still be a lie. That its result is what the component does, only re-execution shows.
pub fn consistency(receipt: &Receipt, asked: &Asked<'_>) -> Result<(), Box<Inconsistency>> {
    if receipt.iss != asked.provider {
        return Err(Box::new(Inconsistency::OtherProvider { asked: asked.provider, signer: receipt.iss }));
    }
    same_action(asked.action, &receipt.action)?;
    if receipt.authority.is_own() && receipt.iss != receipt.action.requester {
        return Err(Box::new(Inconsistency::NotLocal {
            requester: receipt.action.requester,
            provider: receipt.iss,
        }));
    }
    let unfit = match &receipt.authority {
        own if own.is_own() => receipt.invocation.is_some(),
        _ if receipt.invocation.is_none() || receipt.invocation != asked.invocation => true,
        // Without proofs, the provider may have found the requester's grant in its own home.
        Authority::Granted(chain) => !asked.chain.is_empty() && chain != asked.chain,
        _ => !asked.chain.is_empty(),
    };
    if unfit {
        return Err(Box::new(Inconsistency::Request {
            authority: Box::new(receipt.authority.clone()),
            invocation: receipt.invocation,
        }));
    }
    check_withheld(&receipt.action, &receipt.withheld)
        .map_err(|why| Box::new(Inconsistency::Withheld(why)))?;
    if !asked.profiles.contains(&receipt.profile) {
        return Err(Box::new(Inconsistency::UnknownProfile {
            profile: receipt.profile,
            known: asked.profiles.to_vec(),
        }));
    }
    evidence(receipt, asked)?;
    usage(receipt, asked)?;
    plausible(receipt, asked)
}

pub(crate) fn same_action(asked: &Action, receipt: &Action) -> Result<(), Box<Inconsistency>> {
    fn field<T: PartialEq + Debug>(
        field: &'static str,
        asked: &T,
        receipt: &T,
    ) -> Result<(), Box<Inconsistency>> {
        if asked == receipt {
            return Ok(());
        }
        let (asked, receipt) = (format!("{asked:?}"), format!("{receipt:?}"));
        Err(Box::new(Inconsistency::OtherAction { field, asked, receipt }))
    }
    field("requester", &asked.requester, &receipt.requester)?;
    field("component", &asked.component, &receipt.component)?;
    field("function", &asked.function, &receipt.function)?;
    field("args", &asked.args, &receipt.args)?;
    field("limits", &asked.limits, &receipt.limits)?;
    field("permissions", &asked.permissions, &receipt.permissions)?;
    field("seed", &asked.seed, &receipt.seed)?;
    field("time_base", &asked.time_base, &receipt.time_base)?;
    field("nonce", &asked.nonce, &receipt.nonce)?;
    field("partial", &asked.partial, &receipt.partial)?;
    // Whatever fields an action comes to have.
    field("action", asked, receipt)
}

fn evidence(receipt: &Receipt, asked: &Asked<'_>) -> Result<(), Box<Inconsistency>> {
    let (named, came) = (receipt.outcome.output().copied(), asked.output.map(BlobId::of));
    if named != came {
        return Err(Box::new(Inconsistency::Output { named, came }));
    }
    let (named, came) = (receipt.journal, JournalId::of(asked.journal));
    if named != came {
        return Err(Box::new(Inconsistency::Journal { named, came }));
    }
    let (named, came) = (receipt.stdio, asked.stdio.map(BlobId::of));
    if named != came {
        return Err(Box::new(Inconsistency::Stdio { named, came }));
    }
    Ok(())
}

fn usage(receipt: &Receipt, asked: &Asked<'_>) -> Result<(), Box<Inconsistency>> {
    let limits = &receipt.action.limits;
    let bytes = |b: &[u8]| u64::try_from(b.len()).unwrap_or(u64::MAX);
    let uses = [
        ("fuel", receipt.fuel, limits.fuel),
        ("memory_bytes", receipt.memory_bytes, limits.memory_bytes),
        ("output_bytes", asked.output.map_or(0, bytes), limits.output_bytes),
    ];
    match uses.into_iter().find(|(_, used, limit)| used > limit) {
        Some((resource, used, limit)) => Err(Box::new(Inconsistency::OverLimit { resource, used, limit })),
        None => Ok(()),
    }
}

/// Whether what the guest was told came whole, within its limit, and through what it was granted.
fn told(receipt: &Receipt, journal: &Journal, came: &[ByteBuf]) -> Result<(), Box<Inconsistency>> {
    let named = journal.bodies();
    let came: Vec<_> = came.iter().map(|b| (BlobId::of(b), b.len())).collect();
    for n in 0..named.len().max(came.len()) {
        let (named, came) = (named.get(n).copied(), came.get(n).map(|(id, _)| *id));
        if named != came {
            return Err(Box::new(Inconsistency::Body { number: n + 1, named, came }));
        }
    }
    let lengths: BTreeMap<_, _> = came.into_iter().collect();
    let length = |id: &BlobId| lengths.get(id).and_then(|n| u64::try_from(*n).ok()).unwrap_or(u64::MAX);
    let (used, limit) = (journal.weight(length), receipt.action.limits.journal_bytes);
    if used > limit {
        return Err(Box::new(Inconsistency::OverLimit { resource: "journal_bytes", used, limit }));
    }
    let given = receipt.given();
    let held = |permission| given.iter().any(|g| g.permission() == permission);
    for (n, entry) in journal.entries.iter().enumerate() {
        let permission = entry.permission();
        if !permission.is_some_and(held) {
            let function = entry.function.chars().take(100).collect();
            return Err(Box::new(Inconsistency::UngrantedJournal { entry: n + 1, function, permission }));
        }
    }
    Ok(())
}

/// Whether the journal and the outcome say the same of how the authority ended: the last entry alone does.
fn ended(receipt: &Receipt, journal: &Journal) -> Result<(), Box<Inconsistency>> {
    let entries = journal.entries.len();
    let outcome = match &receipt.outcome {
        Outcome::Withdrawn(why) => Some(*why),
        _ => None,
    };
    let first = journal.entries.iter().enumerate().find_map(|(n, e)| Some((n + 1, e.withdrawn()?)));
    let fits = match first {
        Some((entry, journal)) => entry == entries && Some(journal) == outcome,
        None => outcome.is_none(),
    };
    if fits {
        return Ok(());
    }
    let (entry, journal) = first.map_or((0, None), |(entry, journal)| (entry, Some(journal)));
    Err(Box::new(Inconsistency::Withdrawal { entry, entries, journal, outcome }))
}

fn plausible(receipt: &Receipt, asked: &Asked<'_>) -> Result<(), Box<Inconsistency>> {
    let limits = &receipt.action.limits;
    let journal: Journal = codec::decode(asked.journal, Journal::MAX_BYTES)
        .map_err(|e| Box::new(Inconsistency::MalformedJournal(e)))?;
    let entries = journal.entries.len();
    told(receipt, &journal, asked.bodies)?;
    ended(receipt, &journal)?;
    if let Some(bytes) = asked.stdio {
        let stdio: Stdio =
            codec::decode(bytes, bytes.len()).map_err(|e| Box::new(Inconsistency::MalformedStdio(e)))?;
        let used = stdio.stdout.len().saturating_add(stdio.stderr.len());
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        if used > limits.stdio_bytes {
            return Err(Box::new(Inconsistency::OverLimit {
                resource: "stdio_bytes",
                used,
                limit: limits.stdio_bytes,
            }));
        }
    }
    if let Outcome::Denied(imports) = &receipt.outcome {
        if imports.is_empty() || !imports.is_sorted_by(|a, b| a < b) {
            return Err(Box::new(Inconsistency::DeniedNothing(imports.clone())));
        }
        if receipt.fuel > 0 || receipt.memory_bytes > 0 || entries > 0 || asked.stdio.is_some() {
            return Err(Box::new(Inconsistency::DeniedYetRan {
                fuel: receipt.fuel,
                memory_bytes: receipt.memory_bytes,
            }));
        }
    }
    Ok(())
}

//! Revocations: a delegation's end, said by whoever issued it or one above it.
//!
//! Source: UCAN Revocation 1.0.0-rc.1, with the envelope and the field names of UCAN 1.0.0: an invocation of
//! `/ucan/revoke` on the revoker, with an empty nonce and without end. `path` is required and travels with the
//! delegations it names, so that nobody has to keep the revocations of people who never had a say. The right to revoke
//! is not itself delegated here: `prf` is empty.
//!
//! A revocation speaks for its revoker only: it counts in chains that hold one of the revoker's delegations, at or above
//! the revoked one. Where a delegation without a subject is in several people's chains, each revokes it for their own;
//! so revocations are kept by delegation *and* revoker.

use super::{Args, Chain, ChainError, Command, Invocation, MAX_CHAIN, Proof};
use crate::{DelegationId, Did, EnvelopeError, InvocationId, SecretKey, Signed};
use ipld_core::ipld::Ipld;
use serde_bytes::ByteBuf;

/// The command of a revocation.
pub const COMMAND: &str = "/ucan/revoke";

/// A verified revocation. It is immutable, and of use until the delegation would have ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The id of the signed invocation.
    pub id: InvocationId,
    /// The delegation that ends.
    pub revoked: DelegationId,
    /// Who says so.
    pub revoker: Did,
    /// The delegation's own end, in seconds since the Unix epoch; `None` if it has none.
    pub until: Option<u64>,
    /// Whose authority the path passes on; `None` for a delegation without a subject that its issuer revokes.
    pub subject: Option<Did>,
    /// When it was made, by the revoker's clock; only a claim.
    pub iat: Option<u64>,
}

/// Why a revocation was refused.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// Not an invocation that its issuer signed.
    #[error("the revocation: {0}")]
    Token(#[source] EnvelopeError),
    /// An invocation, but no revocation.
    #[error("not a revocation: {0}")]
    Shape(String),
    /// The delegations that came with it are not those its path names, in that order.
    #[error("delegation {index} of the witness is not the one that the path names")]
    Witness {
        /// Where on the path, from 0 at the root.
        index: usize,
        /// What the path names there; `None` where it has ended.
        wanted: Option<DelegationId>,
    },
    /// The path does not lead from a subject to the delegation, or a delegation on it does not verify.
    #[error("the path: {0}")]
    Path(#[source] ChainError),
    /// The revoker issued none of the delegations on the path.
    #[error("{revoker} issued neither {revoked} nor a delegation above it")]
    NotTheirs {
        /// Who signed.
        revoker: Did,
        /// What they would revoke.
        revoked: DelegationId,
    },
}

impl Revocation {
    /// Revokes the last delegation of `path`, which begins at the root. `iat` is the time, in seconds since the Unix
    /// epoch, where it should be said; without it, the same revocation is the same bytes.
    pub fn make(
        path: &[Proof],
        iat: Option<u64>,
        key: &SecretKey,
    ) -> Result<Signed<Invocation>, RevocationError> {
        Self::make_where(path, iat, key, |issuer, revoker| issuer == revoker)
    }

    /// As [`Self::make`], where keys have successors: `is` says whether an issuer is, or has become, the revoker.
    pub fn make_where(
        path: &[Proof],
        iat: Option<u64>,
        key: &SecretKey,
        is: impl Fn(&Did, &Did) -> bool,
    ) -> Result<Signed<Invocation>, RevocationError> {
        let link = |p: &Proof| Ipld::Link(*p.id().cid());
        let revoke = path.last().ok_or_else(|| RevocationError::Shape("an empty path".to_owned()))?;
        let args = Args::from([
            ("revoke".to_owned(), link(revoke)),
            ("path".to_owned(), Ipld::List(path.iter().map(link).collect())),
        ]);
        #[expect(clippy::expect_used, reason = "a constant that is a command")]
        let cmd: Command = COMMAND.parse().expect("a command");
        let iss = key.did();
        let invocation = Invocation {
            iss,
            sub: iss,
            aud: None,
            cmd,
            args,
            prf: Vec::new(),
            meta: None,
            nonce: ByteBuf::new(),
            exp: None,
            iat,
            cause: None,
        };
        let signed = Signed::try_sign(invocation, key).map_err(|e| RevocationError::Shape(e.to_string()))?;
        Self::verify_where(&signed, path, is).map(|_| signed)
    }

    /// Reads a revocation and its witness from bytes, and verifies both. At most [`MAX_CHAIN`] delegations are looked at.
    pub fn read(bytes: &[u8], witness: &[impl AsRef<[u8]>]) -> Result<Self, RevocationError> {
        let signed = Signed::<Invocation>::verify(bytes).map_err(RevocationError::Token)?;
        Self::read_where(&signed, witness, |issuer, revoker| issuer == revoker).map(|(read, _)| read)
    }

    /// As [`Self::read`], where keys have successors: `is` says whether an issuer is, or has become, the revoker. Gives the
    /// verified witness too.
    pub fn read_where(
        signed: &Signed<Invocation>,
        witness: &[impl AsRef<[u8]>],
        is: impl Fn(&Did, &Did) -> bool,
    ) -> Result<(Self, Vec<Proof>), RevocationError> {
        // Before anybody's signatures are worth checking.
        asked(signed.payload(), witness.len())?;
        let read = |(index, bytes): (usize, &_)| {
            let link = super::Link(Some(index));
            Proof::read(AsRef::<[u8]>::as_ref(bytes))
                .map_err(|source| RevocationError::Path(ChainError::Token { link, source }))
        };
        let witness: Vec<Proof> = witness.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Self::verify_where(signed, &witness, is).map(|read| (read, witness))
    }

    /// Verifies a revocation with its witness: the delegations of its path, root first.
    pub fn verify(signed: &Signed<Invocation>, witness: &[Proof]) -> Result<Self, RevocationError> {
        Self::verify_where(signed, witness, |issuer, revoker| issuer == revoker)
    }

    fn verify_where(
        signed: &Signed<Invocation>,
        witness: &[Proof],
        is: impl Fn(&Did, &Did) -> bool,
    ) -> Result<Self, RevocationError> {
        let invocation = signed.payload();
        let (revoked, path) = asked(invocation, witness.len())?;
        let differs =
            (0..path.len().max(witness.len())).find(|n| path.get(*n) != witness.get(*n).map(|p| p.id()));
        if let Some(index) = differs {
            return Err(RevocationError::Witness { index, wanted: path.get(index).copied() });
        }
        let revoker = invocation.iss;
        let theirs = witness.iter().any(|p| is(&p.iss, &revoker));
        let (Some(root), Some(last), true) = (witness.first(), witness.last(), theirs) else {
            return Err(RevocationError::NotTheirs { revoker, revoked });
        };
        // A delegation without a subject has no path of its own; its issuer needs none.
        if root.sub.is_some() || witness.len() > 1 {
            let subject = root.sub.unwrap_or(root.iss);
            Chain::of(witness.to_vec(), &subject, &last.aud).map_err(RevocationError::Path)?;
        }
        Ok(Self {
            id: signed.id(),
            revoked,
            revoker,
            until: last.exp,
            subject: root.sub,
            iat: invocation.iat,
        })
    }
}

/// What an invocation revokes, and by which path, if it is a revocation.
fn asked(
    invocation: &Invocation,
    witness: usize,
) -> Result<(DelegationId, Vec<DelegationId>), RevocationError> {
    let wrong = |what: &str| Err(RevocationError::Shape(what.to_owned()));
    let Invocation { iss, sub, aud, cmd, args, prf, meta, nonce, exp, iat: _, cause } = invocation;
    if cmd.as_str() != COMMAND {
        return wrong(&format!("the command is {cmd}"));
    }
    if iss != sub || aud.is_some_and(|aud| aud != *iss) {
        return wrong("it is not made by its own subject");
    }
    if !prf.is_empty() || meta.is_some() || cause.is_some() {
        return wrong("it has proofs, facts or a cause");
    }
    if !nonce.is_empty() || exp.is_some() {
        return wrong("it has a nonce or an end");
    }
    let id = |ipld: &Ipld| match ipld {
        Ipld::Link(cid) => DelegationId::try_from(*cid).map_err(|e| RevocationError::Shape(e.to_string())),
        _ => Err(RevocationError::Shape("what it names is no link".to_owned())),
    };
    let (Some(revoke), Some(Ipld::List(path)), 2) = (args.get("revoke"), args.get("path"), args.len()) else {
        return wrong("its arguments are not `revoke` and `path`");
    };
    if path.len() > MAX_CHAIN || witness > MAX_CHAIN {
        return wrong(&format!("a path of over {MAX_CHAIN} delegations"));
    }
    let path: Vec<DelegationId> = path.iter().map(id).collect::<Result<_, _>>()?;
    let revoke = id(revoke)?;
    if path.last() != Some(&revoke) {
        return wrong("its path does not end at what it revokes");
    }
    Ok((revoke, path))
}

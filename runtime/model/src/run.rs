//! An action on the wire: a UCAN invocation of `/actum/run`, and what the policies of its proofs see of it.
//!
//! The invocation's arguments say everything of the action but who asks and its nonce, which are the invocation's own
//! `iss` and `nonce`. Both directions are exact: an action makes one invocation's arguments, and arguments that are not
//! the ones an action makes are refused. So what a policy judges is what runs.

use crate::{
    Action, BlobId, CapabilityName, ComponentId, DelegationId, Did, FunctionName, Granted, Invocation,
    Limits, Param, Release, Value, WitType, codec, json, permission,
    ucan::{Args, Command},
    value::{self, ValueError},
};
use ipld_core::ipld::Ipld;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use std::collections::{BTreeMap, BTreeSet};

/// The longest an invocation may be good for, in seconds from its `iat` to its `exp`.
pub const MAX_INVOCATION_LIFE: u64 = 600;
/// The most values of an action's arguments that policies are shown, each element of a list counted and bytes counted as
/// one. A provider refuses more only where a policy looks at the arguments.
pub const MAX_INPUT_VALUES: usize = 65_536;

/// The arguments of an invocation of `/actum/run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunArgs {
    /// The component to run.
    pub component: ComponentId,
    /// The author of the release under which it is offered.
    pub author: Did,
    /// That release's name.
    pub name: CapabilityName,
    /// That release's version.
    pub version: Version,
    /// The exported function to call.
    pub function: FunctionName,
    /// The id of the canonical encoding of the function's arguments. Policies see the arguments themselves.
    pub input: BlobId,
    /// The ceilings to run under.
    pub limits: Limits,
    /// What the guest is to be granted of the real world.
    pub permissions: BTreeSet<Granted>,
    /// The seed of the guest's randomness.
    pub seed: ByteArray<32>,
    /// Where the guest's clocks start, in nanoseconds since the Unix epoch.
    pub time_base: u64,
    /// Whether the provider may run it with less than all of `permissions`. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// Under which release an action is asked for. The requester claims it, so the provider compares it with what it offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The author.
    pub author: Did,
    /// The capability's name.
    pub name: CapabilityName,
    /// Its version.
    pub version: Version,
}

impl Claim {
    /// What is true of a release.
    pub fn of(release: &Release) -> Self {
        Self { author: release.iss, name: release.name.clone(), version: release.version.clone() }
    }
}

/// Why an invocation asks for no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Another command than [`RunArgs::COMMAND`].
    #[error("the command is {0}, not /actum/run")]
    Command(Command),
    /// Nobody is asked, so that anyone might answer.
    #[error("the invocation names no provider: its `aud` is missing")]
    NoAudience,
    /// No `exp` or no `iat`.
    #[error("the invocation has no `{0}`")]
    NoTime(&'static str),
    /// `exp` before `iat`, or over [`MAX_INVOCATION_LIFE`] after it.
    #[error(
        "the invocation ends at {exp} and was made at {iat}; 0 to {MAX_INVOCATION_LIFE} s between them are allowed"
    )]
    Life {
        /// When it was made, in seconds since the Unix epoch.
        iat: u64,
        /// Its end, in seconds since the Unix epoch.
        exp: u64,
    },
    /// Another number of bytes than an action's nonce has.
    #[error("a nonce of {0} bytes where an action's has 12")]
    Nonce(usize),
    /// Not the arguments of [`RunArgs`] in the form they are written in: unknown, missing, of another kind or spelling.
    #[error("the invocation's arguments are not an action's: {0}")]
    Args(String),
    /// Permissions that no action may carry.
    #[error("the invocation's permissions: {0}")]
    Permissions(String),
}

impl RunArgs {
    /// The command.
    pub const COMMAND: &'static str = "/actum/run";

    /// The command, as invocations hold it.
    pub fn command() -> Command {
        #[expect(clippy::expect_used, reason = "the text is a command; a test reads it")]
        Self::COMMAND.parse().expect("a command")
    }

    /// What an invocation says of an action.
    pub fn of(action: &Action, claim: &Claim) -> Self {
        let Action {
            requester: _,
            component,
            function,
            args,
            limits,
            permissions,
            seed,
            time_base,
            nonce: _,
            partial,
        } = action;
        Self {
            component: *component,
            author: claim.author,
            name: claim.name.clone(),
            version: claim.version.clone(),
            function: function.clone(),
            input: *args,
            limits: limits.clone(),
            permissions: permissions.clone(),
            seed: *seed,
            time_base: *time_base,
            partial: *partial,
        }
    }

    /// As the arguments of an invocation.
    pub fn to_args(&self) -> Args {
        #[expect(
            clippy::expect_used,
            reason = "a struct is a map with text keys; property tests encode many"
        )]
        codec::decode(&codec::encode(self), usize::MAX).expect("a map")
    }

    /// Reads arguments, refusing all but what [`Self::to_args`] gives.
    pub fn from_args(args: &Args) -> Result<Self, RunError> {
        let wrong = |e: String| RunError::Args(e);
        let bytes = serde_ipld_dagcbor::to_vec(args).map_err(|e| wrong(e.to_string()))?;
        let read: Self = codec::decode(&bytes, bytes.len()).map_err(|e| wrong(e.to_string()))?;
        permission::check_granted(&read.permissions).map_err(RunError::Permissions)?;
        Ok(read)
    }

    /// The invocation by which `action`'s requester asks the provider `aud` to run it on the authority of `sub`, proven by
    /// `prf` with the root first, good from `iat` until `exp`: at most [`MAX_INVOCATION_LIFE`] later, else nobody takes it.
    pub fn invocation(
        action: &Action,
        claim: &Claim,
        aud: Did,
        sub: Did,
        prf: Vec<DelegationId>,
        exp: u64,
        iat: u64,
    ) -> Invocation {
        Invocation {
            iss: action.requester,
            sub,
            aud: Some(aud),
            cmd: Self::command(),
            args: Self::of(action, claim).to_args(),
            prf,
            meta: None,
            nonce: ByteBuf::from(action.nonce.as_slice()),
            exp: Some(exp),
            iat: Some(iat),
            cause: None,
        }
    }

    /// The action that an invocation asks for, and under which release. What it says in `meta` and `cause` asks for nothing.
    ///
    /// Who is asked, whether the chain holds, the clock, and whether the claim is true are the caller's to check.
    pub fn read(invocation: &Invocation) -> Result<(Action, Claim), RunError> {
        if invocation.cmd.as_str() != Self::COMMAND {
            return Err(RunError::Command(invocation.cmd.clone()));
        }
        if invocation.aud.is_none() {
            return Err(RunError::NoAudience);
        }
        let exp = invocation.exp.ok_or(RunError::NoTime("exp"))?;
        let iat = invocation.iat.ok_or(RunError::NoTime("iat"))?;
        if exp.checked_sub(iat).is_none_or(|life| life > MAX_INVOCATION_LIFE) {
            return Err(RunError::Life { iat, exp });
        }
        let nonce = <[u8; 12]>::try_from(invocation.nonce.as_slice())
            .map_err(|_| RunError::Nonce(invocation.nonce.len()))?;
        let Self {
            component,
            author,
            name,
            version,
            function,
            input,
            limits,
            permissions,
            seed,
            time_base,
            partial,
        } = Self::from_args(&invocation.args)?;
        let action = Action {
            requester: invocation.iss,
            component,
            function,
            args: input,
            limits,
            permissions,
            seed,
            time_base,
            nonce: ByteArray::new(nonce),
            partial,
        };
        Ok((action, Claim { author, name, version }))
    }
}

/// How much was used of one delegation, this invocation included: in all, or within the last 60 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Actions.
    pub actions: u64,
    /// Fuel units: the ceilings of those actions, with all that they may burn through `delegate`.
    pub fuel: u64,
}

impl Use {
    fn to_ipld(self) -> Ipld {
        let entry = |name: &str, n: u64| (name.to_owned(), Ipld::from(n));
        Ipld::Map([entry("actions", self.actions), entry("fuel", self.fuel)].into())
    }
}

/// What the policy of one delegation sees: the signed arguments, in which the arguments of the function stand for their
/// id, and how much of that delegation is used.
///
/// Without `input` policies see none, so that every statement about it is false: only for where no policy looks
/// at it, see [`crate::grant::sees_input`].
pub fn policy_args(invocation: &Invocation, input: Option<Ipld>, spent: Use, minute: Use) -> Args {
    let mut args = invocation.args.clone();
    args.remove("input");
    args.extend(input.map(|input| ("input".to_owned(), input)));
    args.insert("spent".to_owned(), spent.to_ipld());
    args.insert("minute".to_owned(), minute.to_ipld());
    args
}

/// Has arguments ask for other permissions: policies that judge every permission by itself, as those of
/// [`crate::grant`] do, say of each alone whether they allow it, where an action may run with less than all.
pub fn ask_for(args: &mut Args, permissions: &BTreeSet<Granted>) -> Result<(), RunError> {
    let list = ipld_core::serde::to_ipld(permissions).map_err(|e| RunError::Permissions(e.to_string()))?;
    args.insert("permissions".to_owned(), list);
    Ok(())
}

/// Why policies cannot be shown an action's arguments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// More values than [`MAX_INPUT_VALUES`].
    #[error("the arguments hold more than the {MAX_INPUT_VALUES} values that a policy is shown")]
    TooMany,
    /// Not the canonical encoding of arguments of these types.
    #[error(transparent)]
    Value(ValueError),
}

/// The arguments of a function as policies see them: a map by parameter name, each value in the shape it has in JSON.
///
/// | type | as |
/// |---|---|
/// | `bool`, integers | themselves |
/// | `f32`, `f64` | a float, of an `f32` the one that prints alike; the text `nan`, `inf` or `-inf` where it is none |
/// | `char`, `string` | text |
/// | `list<u8>` | bytes |
/// | other `list`, `tuple` | a list |
/// | `record` | a map by field name |
/// | `enum` | text: the case's name |
/// | `variant` | text: the case's name; with a payload a map of one entry, `{name: payload}` |
/// | `option` | null for none, otherwise the payload; in an option of an option `{"some": payload}` |
/// | `result` | `{"ok": payload}` or `{"err": payload}`; the text `ok` or `err` where there is no payload |
/// | `flags` | a list of the names that are set |
///
/// `encoded` is what [`value::encode_params`] gives; the caller has bounded its size.
pub fn input_of(params: &[Param], encoded: &[u8]) -> Result<Ipld, InputError> {
    let values =
        value::decode_few_params(params, encoded, MAX_INPUT_VALUES).map_err(|error| match error {
            ValueError::TooMany { .. } => InputError::TooMany,
            error => InputError::Value(error),
        })?;
    let shown = params.iter().zip(&values).map(|(p, v)| (p.name.clone(), show(&p.ty, v)));
    Ok(Ipld::Map(shown.collect()))
}

/// A value that was read as one of this type; what is not is null, which no statement but one about null holds of.
fn show(ty: &WitType, value: &Value) -> Ipld {
    let case = |name: &str, ty: Option<&WitType>, payload: Option<&Value>| match (ty, payload) {
        (Some(ty), Some(payload)) => single(name, show(ty, payload)),
        _ => Ipld::from(name),
    };
    match (ty, value) {
        (_, Value::Bool(v)) => Ipld::from(*v),
        (_, Value::S8(v)) => Ipld::from(*v),
        (_, Value::S16(v)) => Ipld::from(*v),
        (_, Value::S32(v)) => Ipld::from(*v),
        (_, Value::S64(v)) => Ipld::from(*v),
        (_, Value::U8(v)) => Ipld::from(*v),
        (_, Value::U16(v)) => Ipld::from(*v),
        (_, Value::U32(v)) => Ipld::from(*v),
        (_, Value::U64(v)) => Ipld::from(*v),
        (_, Value::F32(v)) => float(json::short(*v)),
        (_, Value::F64(v)) => float(*v),
        (_, Value::Char(v)) => Ipld::from(v.to_string()),
        (_, Value::String(v)) => Ipld::from(v.as_str()),
        (_, Value::Bytes(v)) => Ipld::Bytes(v.clone()),
        (WitType::List(ty), Value::List(items)) => {
            items.iter().map(|item| show(ty, item)).collect::<Vec<_>>().into()
        }
        (WitType::Tuple(types), Value::Tuple(items)) => {
            types.iter().zip(items).map(|(ty, item)| show(ty, item)).collect::<Vec<_>>().into()
        }
        (WitType::Record(fields), Value::Record(items)) => {
            Ipld::Map(fields.iter().zip(items).map(|(f, item)| (f.name.clone(), show(&f.ty, item))).collect())
        }
        (WitType::Variant(cases), Value::Variant(index, payload)) => match cases.get(*index as usize) {
            Some(one) => case(&one.name, one.ty.as_ref(), payload.as_deref()),
            None => Ipld::Null,
        },
        (WitType::Enum(cases), Value::Enum(index)) => {
            cases.get(*index as usize).map_or(Ipld::Null, |name| Ipld::from(name.as_str()))
        }
        (WitType::Option(ty), Value::Option(Some(payload))) => {
            let inner = show(ty, payload);
            if matches!(**ty, WitType::Option(_)) { single("some", inner) } else { inner }
        }
        (WitType::Result(sides), Value::Result(result)) => match result {
            Ok(payload) => case("ok", sides.ok.as_deref(), payload.as_deref()),
            Err(payload) => case("err", sides.err.as_deref(), payload.as_deref()),
        },
        (WitType::Flags(names), Value::Flags(bits)) => {
            let set = (0_u32..).zip(names).filter(|(i, _)| bits.checked_shr(*i).unwrap_or(0) & 1 == 1);
            set.map(|(_, name)| Ipld::from(name.as_str())).collect::<Vec<_>>().into()
        }
        _ => Ipld::Null,
    }
}

fn single(name: &str, payload: Ipld) -> Ipld {
    Ipld::Map(BTreeMap::from([(name.to_owned(), payload)]))
}

fn float(v: f64) -> Ipld {
    if v.is_finite() {
        Ipld::Float(v)
    } else if v.is_nan() {
        Ipld::from("nan")
    } else {
        Ipld::from(if v > 0.0 { "inf" } else { "-inf" })
    }
}

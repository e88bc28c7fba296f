//! From JSON to an action, and from an output back to JSON.

use crate::clock;
use actum_model::{
    Action, BlobId, ComponentId, Did, Function, Granted, Limits, Outcome,
    json::{self, JsonError},
    value::{self, ValueError},
};
pub use actum_sandbox::{grantable, why_refused};
use serde_bytes::ByteArray;
use std::collections::BTreeSet;

/// Why arguments were refused. Nothing was sent or run.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// The JSON does not fit the function's types; the text names the place, what is expected and what was given.
    #[error("the arguments of {function} do not fit")]
    Json {
        /// The function, as WIT writes it.
        function: String,
        /// Where and why.
        source: JsonError,
    },
    /// The values could not be encoded.
    #[error("the arguments of {function} cannot be encoded")]
    Encode {
        /// The function, as WIT writes it.
        function: String,
        /// Where and why.
        source: ValueError,
    },
    /// Encoded, they are more than a receipt's evidence may have.
    #[error("the arguments of {function} have {actual} bytes encoded; at most {limit} are taken")]
    TooLarge {
        /// The function, as WIT writes it.
        function: String,
        /// Bytes given.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// What a caller may choose of an action beyond function and arguments.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The ceilings to run under. Default: [`Limits::default`].
    pub limits: Limits,
    /// Those of the limits, by name, that somebody chose. The others are lowered to what a grant gives, where that is less.
    /// Default: none.
    pub fixed: BTreeSet<&'static str>,
    /// What is granted of the real world. Default: nothing.
    pub permissions: BTreeSet<Granted>,
    /// Whether a provider may run it with less than all of them. Default: no.
    pub partial: bool,
    /// The seed of the guest's randomness. Default: fresh.
    pub seed: Option<[u8; 32]>,
    /// Where the guest's clocks start, in nanoseconds since the Unix epoch. Default: now.
    pub time_base: Option<u64>,
}

/// Encodes JSON arguments canonically. `files` reads what `@path` names, for `list<u8>` values.
pub fn encode_args(
    function: &Function,
    args: &serde_json::Value,
    files: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, ArgsError> {
    let values = json::params_from_json_with(&function.params, args, files)
        .map_err(|source| ArgsError::Json { function: function.to_string(), source })?;
    let args = value::encode_params(&function.params, &values)
        .map_err(|source| ArgsError::Encode { function: function.to_string(), source })?;
    check_size(function, &args).map(|()| args)
}

/// Refuses arguments that could not be kept with the receipt, before anything is sent or run.
pub(crate) fn check_size(function: &Function, args: &[u8]) -> Result<(), ArgsError> {
    let (actual, limit) = (args.len(), actum_store::MAX_BLOB_BYTES);
    if actual > limit {
        return Err(ArgsError::TooLarge { function: function.to_string(), actual, limit });
    }
    Ok(())
}

/// The action that calls `function` of `component` with these encoded arguments.
pub fn action(
    requester: Did,
    component: ComponentId,
    function: &Function,
    args: &[u8],
    choices: Choices,
) -> Action {
    Action {
        requester,
        component,
        function: function.name.clone(),
        args: BlobId::of(args),
        limits: choices.limits,
        permissions: choices.permissions,
        seed: ByteArray::new(choices.seed.unwrap_or_else(clock::random)),
        time_base: choices.time_base.unwrap_or_else(clock::now_nanos),
        nonce: ByteArray::new(clock::random()),
        partial: choices.partial,
    }
}

/// The output of an outcome as JSON, where the function returned.
pub fn output_json(
    function: &Function,
    outcome: &Outcome,
    output: Option<&[u8]>,
) -> Result<Option<serde_json::Value>, ValueError> {
    let (Some(_), Some(bytes)) = (outcome.output(), output) else { return Ok(None) };
    let ty = function.result.as_ref();
    let value = value::decode_result(ty, bytes, bytes.len())?;
    Ok(Some(json::result_to_json(ty, value.as_ref())))
}

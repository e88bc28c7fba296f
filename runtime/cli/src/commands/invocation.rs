//! What `run` and `call` share: reading arguments, choosing limits, printing how an action ended.

use super::{
    authority,
    permit::{self, Asks},
};
use crate::{
    error::{CliError, Kind},
    output::{self, Format},
};
use actum_model::{Function, Limits, Outcome, Receipt, Signed, Value, WitType, Withdrawal, json, value};
use actum_node::{
    Home,
    invoke::{self, Choices},
};
use serde_json::Value as Json;
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
};

/// The largest argument read from a file or stdin, in bytes: 32 MiB.
const MAX_ARGUMENT_BYTES: u64 = 32 << 20;

/// Options of an action.
#[derive(Debug, clap::Args)]
pub(super) struct ActionOptions {
    /// Fuel the guest may burn [default: 10000000000, or what the grant gives]
    #[arg(long, value_name = "UNITS")]
    fuel: Option<u64>,
    /// Linear memory the guest may hold, in MiB [default: 256, or what the grant gives]
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Grant a permission, as `keyvalue:notes` or `http:https://example.com`; repeat for several
    #[arg(long, value_name = "PERMISSION", value_parser = permit::parse)]
    grant: Vec<String>,
    /// The seed of the guest's randomness, 64 hexadecimal digits [default: fresh]
    #[arg(long, value_name = "HEX", value_parser = parse_seed)]
    seed: Option<[u8; 32]>,
    /// Where the guest's clock starts, in nanoseconds since 1970 [default: now]
    #[arg(long, value_name = "NS")]
    time_base: Option<u64>,
    /// Print a result that is text or bytes as it is, not as JSON; a command's stdout and stderr likewise
    #[arg(long)]
    raw: bool,
}

fn parse_seed(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "a seed is 64 hexadecimal digits".to_owned();
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut seed = [0; 32];
    for (byte, pair) in seed.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(seed)
}

impl ActionOptions {
    pub(super) fn choices(&self, home: &Home, asks: &Asks) -> Result<Choices, CliError> {
        let default = Limits::default();
        let memory_bytes = self.memory.map(|mib| mib.saturating_mul(1 << 20));
        let fixed = [("fuel", self.fuel), ("memory_bytes", memory_bytes)].into_iter();
        Ok(Choices {
            limits: Limits {
                fuel: self.fuel.unwrap_or(default.fuel),
                memory_bytes: memory_bytes.unwrap_or(default.memory_bytes),
                ..default
            },
            fixed: fixed.filter(|(_, chosen)| chosen.is_some()).map(|(name, _)| name).collect(),
            permissions: permit::resolve(home, &self.grant, asks)?,
            partial: false,
            seed: self.seed,
            time_base: self.time_base,
        })
    }
}

fn read_bounded(from: &str, reader: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_ARGUMENT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot read {from}: {e}"))?;
    if bytes.len() as u64 > MAX_ARGUMENT_BYTES {
        return Err(format!("{from} has more than {MAX_ARGUMENT_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Reads what `@path` names.
pub(super) fn read_file(path: &str) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|e| format!("cannot read {path}: {e}"))?;
    read_bounded(path, file)
}

/// The arguments as JSON: from the command line, `@file`, or `-` for stdin.
///
/// Where a function needs no more than one text or one `list<u8>`, that may be given as it is: shells make quoting hard, and
/// most files are not JSON. What reads as the function's arguments in JSON is taken so first.
pub(super) fn read_args(function: &Function, text: Option<&str>) -> Result<Json, CliError> {
    let usage = |message| CliError::new(Kind::Usage, message);
    let Some(text) = text else { return Ok(serde_json::json!([])) };
    let content = match text.strip_prefix('@') {
        Some(path) => read_file(path).map_err(usage)?,
        None if text == "-" => read_bounded("stdin", io::stdin().lock()).map_err(usage)?,
        None => text.as_bytes().to_vec(),
    };
    let from_file = text.starts_with('@') || text == "-";
    let parsed = serde_json::from_slice::<Json>(&content);
    let alone = match function.params.split_first() {
        Some((first, rest)) if rest.iter().all(|p| matches!(p.ty, WitType::Option(_))) => Some(&first.ty),
        _ => None,
    };
    if let Ok(json) = &parsed
        && (alone.is_none()
            || json::params_from_json_with(&function.params, json, &mut |p| read_file(p)).is_ok())
    {
        return Ok(json.clone());
    }
    match (alone, parsed) {
        (Some(ty), _) if ty.is_bytes() && from_file => {
            Ok(serde_json::json!([json::to_json(ty, &Value::Bytes(content))]))
        }
        // Not a file: the bytes themselves cannot stand on a command line, their base64 can.
        (Some(ty), Err(_)) if ty.is_bytes() => Ok(serde_json::json!([text])),
        (Some(WitType::String), Err(_)) => as_text(text, content),
        (Some(WitType::String), Ok(_)) if from_file => as_text(text, content),
        (_, Ok(json)) => Ok(json),
        (_, Err(e)) => Err(usage(format!("the arguments are not JSON: {e}"))
            .hint(format!("{function} takes a JSON array or object"))),
    }
}

fn as_text(from: &str, content: Vec<u8>) -> Result<Json, CliError> {
    let text = String::from_utf8(content);
    let text = text.map_err(|_| CliError::new(Kind::Usage, format!("{from} is not UTF-8 text")))?;
    Ok(serde_json::json!([text]))
}

/// How an action ended.
pub(super) struct Ended<'a> {
    pub(super) function: &'a Function,
    pub(super) receipt: &'a Signed<Receipt>,
    pub(super) output: Option<&'a [u8]>,
    pub(super) stdout: &'a [u8],
    pub(super) stderr: &'a [u8],
}

/// Prints the result on stdout and the receipt id on stderr; anything but `ok` is an error with its own exit code.
pub(super) fn print(ended: &Ended<'_>, options: &ActionOptions, format: Format) -> Result<(), CliError> {
    let receipt = ended.receipt.payload();
    let shown = invoke::output_json(ended.function, &receipt.outcome, ended.output).map_err(|e| {
        CliError::new(Kind::Verification, format!("the output is not of the function's type: {e}"))
    })?;
    match format {
        Format::Json => output::json(&serde_json::json!({
            "outcome": receipt.outcome.code(),
            "detail": receipt.outcome.to_string(),
            "output": shown,
            "receipt": ended.receipt.id().to_string(),
            "provider": receipt.iss.to_string(),
            "component": receipt.action.component.to_string(),
            "function": receipt.action.function.to_string(),
            "fuel": receipt.fuel,
            "memory_bytes": receipt.memory_bytes,
            "stdout": String::from_utf8_lossy(ended.stdout),
            "stderr": String::from_utf8_lossy(ended.stderr),
        })),
        Format::Text => {
            for (name, text) in [("stdout", ended.stdout), ("stderr", ended.stderr)] {
                for line in String::from_utf8_lossy(text).lines() {
                    output::talk(format!("guest {name}: {}", line.escape_debug()));
                }
            }
            if let Some(shown) = &shown {
                match raw_output(ended, options) {
                    Some(()) => {}
                    None => output::json(shown),
                }
            }
            output::talk(format!("receipt: {}", ended.receipt.id()));
        }
    }
    match &receipt.outcome {
        Outcome::Ok(_) => Ok(()),
        Outcome::GuestError(_) => Err(CliError::new(Kind::Guest, "the function returned an error")),
        Outcome::Denied(imports) => {
            let message = format!("denied: the component imports {}", imports.join(", "));
            let wanted = imports.iter().map(|import| invoke::grantable(import));
            Err(CliError::new(Kind::Denied, message).hint(match wanted.collect::<Option<BTreeSet<_>>>() {
                Some(kinds) => {
                    let forms: Vec<_> = kinds.iter().map(permit::form).collect();
                    format!("it was not run; --grant {} grants that", forms.join(" --grant "))
                }
                None => {
                    let why: BTreeSet<_> = imports.iter().map(|import| invoke::why_refused(import)).collect();
                    format!("it was not run: {}", Vec::from_iter(why).join("; "))
                }
            }))
        }
        outcome @ Outcome::Withdrawn(why) => {
            let hint = match why {
                Withdrawal::Revoked => "ask for a new grant; `actum grant list` shows who revoked which",
                Withdrawal::Expired => "ask for a new grant; `actum grant list` shows until when yours hold",
            };
            let message = format!("the action ended: {}", authority::outcome(outcome));
            Err(CliError::new(Kind::Denied, message).hint(hint))
        }
        outcome @ (Outcome::OutOfFuel | Outcome::OutOfMemory) => {
            let used = format!(
                "after {} fuel and {}",
                output::thousands(receipt.fuel),
                output::bytes(receipt.memory_bytes)
            );
            Err(CliError::new(Kind::Guest, format!("the action ended: {outcome}, {used}"))
                .hint("--fuel and --memory raise the limits"))
        }
        outcome => Err(CliError::new(Kind::Guest, format!("the action ended: {outcome}"))),
    }
}

/// Prints text, bytes, or a command's streams as they are, where `--raw` asks for it and the type allows.
fn raw_output(ended: &Ended<'_>, options: &ActionOptions) -> Option<()> {
    let bytes = ended.output.filter(|_| options.raw)?;
    let decoded = value::decode_result(ended.function.result.as_ref(), bytes, bytes.len()).ok().flatten()?;
    let inner = match decoded {
        Value::Result(Ok(v) | Err(v)) => *v?,
        Value::Option(v) => *v?,
        other => other,
    };
    match inner {
        Value::String(text) => output::raw(text.as_bytes()),
        Value::Bytes(bytes) => output::raw(&bytes),
        Value::Record(fields)
            if ended.function.name.interface().is_some_and(|i| i.starts_with("wasi:cli/run")) =>
        {
            let mut streams = fields.into_iter().filter_map(|f| match f {
                Value::Bytes(b) => Some(b),
                _ => None,
            });
            output::raw(&streams.next()?);
            output::talk(String::from_utf8_lossy(&streams.next()?).trim_end());
        }
        _ => return None,
    }
    Some(())
}

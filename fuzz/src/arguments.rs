//! Arguments: their canonical encoding, their JSON, and the typed reader that skips the values between.

use crate::shapes;
use actum_model::value::{decode_params, encode_params};
use actum_model::{Action, BlobId, Limits, Param, SecretKey, json};
use actum_sandbox::{EngineKind, ExecuteError, Execution, Loaded, Sandbox, SandboxConfig};
use arbitrary::Unstructured;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What decodes must be what encodes, in both forms.
fn comes_back(params: &[Param], bytes: &[u8]) {
    let Ok(values) = decode_params(params, bytes, bytes.len()) else { return };
    assert_eq!(encode_params(params, &values).as_deref(), Ok(bytes), "decoded, encoded");
    let written = json::params_to_json(params, &values);
    let text = serde_json::to_string(&written).unwrap();
    let read = json::params_from_json(params, &serde_json::from_str(&text).unwrap());
    let read = read.unwrap_or_else(|e| panic!("{e}: {text} for {params:?}"));
    assert_eq!(encode_params(params, &read).as_deref(), Ok(bytes), "through JSON: {text}");
}

/// A signature from the first bytes, then either encoded arguments, or values to encode and to damage.
pub(crate) fn binary(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(params) = shapes::params(&mut u) else { return };
    let Ok(raw) = u.arbitrary::<bool>() else { return };
    if raw {
        return comes_back(&params, u.take_rest());
    }
    let values: arbitrary::Result<Vec<_>> = params.iter().map(|p| shapes::value(&mut u, &p.ty)).collect();
    let Ok(values) = values else { return };
    let mut bytes = encode_params(&params, &values).unwrap_or_else(|e| panic!("{e}: {values:?}"));
    assert!(decode_params(&params, &bytes, bytes.len()).is_ok(), "encoded, decoded: {values:?}");
    comes_back(&params, &bytes);
    while let (Ok(at), Ok(byte)) = (u.choose_index(bytes.len().max(1)), u.arbitrary::<u8>()) {
        if u.is_empty() {
            break;
        }
        if let Some(there) = bytes.get_mut(at) {
            *there = byte;
        }
        comes_back(&params, &bytes);
    }
}

/// A signature from the first bytes, then JSON.
pub(crate) fn json(data: &[u8]) {
    let (head, text) = data.split_at_checked(16).unwrap_or((data, b""));
    let Ok(params) = shapes::params(&mut Unstructured::new(head)) else { return };
    let Ok(written) = serde_json::from_slice::<serde_json::Value>(text) else { return };
    let Ok(values) = json::params_from_json(&params, &written) else { return };
    let bytes = encode_params(&params, &values).unwrap_or_else(|e| panic!("{e}: {values:?}"));
    comes_back(&params, &bytes);
    assert!(decode_params(&params, &bytes, bytes.len()).is_ok(), "{values:?}");
}

/// The signatures with a typed path whose parameters differ, each as text and as a core signature.
const TYPED: &[(&str, &str)] = &[
    (r#"(param "a" (list u8))"#, "i32 i32"),
    (r#"(param "a" string)"#, "i32 i32"),
    (r#"(param "a" (list u8)) (param "b" string)"#, "i32 i32 i32 i32"),
    (r#"(param "a" string) (param "b" u32)"#, "i32 i32 i32"),
    (r#"(param "a" (list u8)) (param "b" u32) (param "c" u32)"#, "i32 i32 i32 i32"),
    (r#"(param "a" string) (param "b" string) (param "c" string)"#, "i32 i32 i32 i32 i32 i32"),
];

/// One component with a function for each of [`TYPED`]; each gives back its first parameter.
fn component() -> Vec<u8> {
    let mut cores = String::new();
    let mut lifts = String::new();
    for (n, (params, flat)) in TYPED.iter().enumerate() {
        cores += &format!(
            r#"(func (export "f{n}") (param {flat}) (result i32)
              (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))"#
        );
        let result = if params.starts_with(r#"(param "a" string)"#) { "string" } else { "(list u8)" };
        lifts += &format!(
            r#"(func (export "f{n}") {params} (result {result})
              (canon lift (core func $i "f{n}") (memory $i "memory") (realloc (func $i "realloc"))))"#
        );
    }
    let text = format!(
        r#"(component (core module $m (memory (export "memory") 2) (global $top (mut i32) (i32.const 64))
          (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3))))
          {cores}) (core instance $i (instantiate $m)) {lifts})"#
    );
    wat::parse_str(text).unwrap()
}

/// A sandbox for small guests.
pub(crate) fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| {
        let wall_clock = Duration::from_secs(10);
        let config = SandboxConfig { engine: EngineKind::Cranelift, wall_clock, ..SandboxConfig::default() };
        Sandbox::new(config).unwrap()
    })
}

/// An action of a function under small limits.
pub(crate) fn action(loaded: &Loaded, function: usize, args: &[u8], fuel: u64) -> Action {
    Action {
        requester: SecretKey::from_seed(&[7; 32]).did(),
        component: *loaded.id(),
        function: loaded.functions()[function].name.clone(),
        args: BlobId::of(args),
        limits: Limits { fuel, memory_bytes: 16 << 20, table_elements: 10_000, ..Limits::default() },
        permissions: BTreeSet::new(),
        seed: [9; 32].into(),
        time_base: 1_700_000_000_000_000_000,
        nonce: [1; 12].into(),
        partial: false,
    }
}

/// An execution without how long it took; an error as text.
pub(crate) fn timeless(ran: Result<Execution, ExecuteError>) -> Result<Execution, String> {
    ran.map(|e| Execution { wall: Duration::ZERO, ..e }).map_err(|e| format!("{e:?}"))
}

/// Encoded arguments for a typed signature: the typed reader and the model's decoder agree, whatever they are.
pub(crate) fn typed(data: &[u8]) {
    static LOADED: OnceLock<Arc<Loaded>> = OnceLock::new();
    let Some((which, args)) = data.split_first() else { return };
    let loaded = LOADED.get_or_init(|| sandbox().load(&component()).unwrap());
    let function = usize::from(*which) % TYPED.len();
    let action = action(loaded, function, args, 100_000);
    let fast = timeless(sandbox().execute(loaded, &action, args));
    let slow = timeless(sandbox().execute_dynamically(loaded, &action, args));
    assert_eq!(fast, slow);
    let params = &loaded.functions()[function].params;
    assert_eq!(fast.is_ok(), decode_params(params, args, args.len()).is_ok(), "{fast:?}");
    comes_back(params, args);
}

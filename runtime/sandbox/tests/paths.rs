//! The typed path and the dynamic path: the same outcome, output, fuel and memory, for every typed signature and for
//! types that only the dynamic path takes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::Value;
use actum_sandbox::EngineKind;
use common::{action, limits, sandbox, timeless, typed};

/// What a function does with its first parameter to make its result: points at it.
fn body(params: &[&str], result: &str) -> String {
    let flat: String = params.iter().map(|p| if *p == "u32" { " i32" } else { " i32 i32" }).collect();
    match result {
        "bool" => return format!("(param{flat}) (result i32) (i32.const 1)"),
        "u32" => return format!("(param{flat}) (result i32) (i32.sub (i32.const 0) (local.get 1))"),
        "u64" => return format!("(param{flat}) (result i64) (i64.sub (i64.const 0) (i64.const 2))"),
        // Two elements, each the first parameter.
        "(list string)" => {
            return format!(
                "(param{flat}) (result i32) (i32.store (i32.const 16) (i32.const 32))
                 (i32.store (i32.const 20) (i32.const 2)) (i32.store (i32.const 32) (local.get 0))
                 (i32.store (i32.const 36) (local.get 1)) (i32.store (i32.const 40) (local.get 0))
                 (i32.store (i32.const 44) (local.get 1)) (i32.const 16)"
            );
        }
        "(option (list u8))" => {
            return format!(
                "(param{flat}) (result i32) (i32.store (i32.const 16) (i32.const 1))
                 (i32.store (i32.const 20) (local.get 0)) (i32.store (i32.const 24) (local.get 1))
                 (i32.const 16)"
            );
        }
        _ => {}
    }
    let at = if result.starts_with("(result") { 4 } else { 0 };
    format!(
        "(param{flat}) (result i32) (i32.store (i32.const {}) (local.get 0))
         (i32.store (i32.const {}) (local.get 1)) (i32.const 16)",
        16 + at,
        20 + at
    )
}

#[test]
fn every_typed_signature_agrees_with_the_dynamic_path() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let params: [&[&str]; 10] = [
        &["(list u8)"],
        &["string"],
        &["(list u8)", "(list u8)"],
        &["(list u8)", "string"],
        &["(list u8)", "u32"],
        &["string", "(list u8)"],
        &["string", "string"],
        &["string", "u32"],
        &["(list u8)", "u32", "u32"],
        &["string", "string", "string"],
    ];
    let results = [
        "(list u8)",
        "string",
        "(list string)",
        "(option (list u8))",
        "bool",
        "u32",
        "u64",
        "(result (list u8) (error string))",
        "(result string (error string))",
        "(result (list u8) (error (list u8)))",
    ];
    for params in params {
        for result in results {
            let list: String =
                params.iter().enumerate().map(|(i, p)| format!("(param \"p{i}\" {p}) ")).collect();
            let component = typed(&format!("{list}(result {result})"), &body(params, result));
            let loaded = sandbox.load(&component).unwrap();
            let values: Vec<Value> = params
                .iter()
                .map(|p| match *p {
                    "string" => Value::String("some text".repeat(50)),
                    "u32" => Value::U32(3),
                    _ => Value::Bytes(vec![b'x'; 3000]),
                })
                .collect();
            let (action, args) = action(&loaded, "run", &values, limits());
            let fast = timeless(sandbox.execute(&loaded, &action, &args).unwrap());
            let slow = timeless(sandbox.execute_dynamically(&loaded, &action, &args).unwrap());
            assert_eq!(fast.outcome.code(), "ok", "{list} {result}");
            assert_eq!(fast, slow, "{list} {result}");
        }
    }
}

#[test]
fn structured_values_cross_and_come_back() {
    let ty = r#"(record (field "b" bool) (field "n" s16) (field "t" (tuple u8 f64))
        (field "o" (option string)) (field "l" (list u64)))"#;
    let text = format!(
        r#"(component {}
  (core module $main
    (import "libc" "memory" (memory 1))
    (func (export "run") (param i32 i32 i32 f64 i32 i32 i32 i32 i32) (result i32)
      (i32.store8 (i32.const 16) (local.get 0)) (i32.store16 (i32.const 18) (local.get 1))
      (i32.store8 (i32.const 24) (local.get 2)) (f64.store (i32.const 32) (local.get 3))
      (i32.store8 (i32.const 40) (local.get 4)) (i32.store (i32.const 44) (local.get 5))
      (i32.store (i32.const 48) (local.get 6)) (i32.store (i32.const 52) (local.get 7))
      (i32.store (i32.const 56) (local.get 8)) (i32.const 16)))
  (core instance $main (instantiate $main (with "libc" (instance $libc))))
  (type $t' {ty})
  (export $t "t" (type $t'))
  (func (export "run") (param "x" $t) (result $t)
    (canon lift (core func $main "run") (memory $libc "memory") (realloc (func $libc "realloc")))))"#,
        common::LIBC
    );
    let component = common::wat(&text);
    let sandbox = sandbox(EngineKind::Cranelift);
    let value = Value::Record(vec![
        Value::Bool(true),
        Value::S16(-5),
        Value::Tuple(vec![Value::U8(9), Value::F64(-0.5)]),
        Value::Option(Some(Box::new(Value::String("né".into())))),
        Value::List(vec![Value::U64(u64::MAX), Value::U64(1)]),
    ]);
    let loaded = sandbox.load(&component).unwrap();
    let (action, args) = action(&loaded, "run", &[value], limits());
    let execution = sandbox.execute(&loaded, &action, &args).unwrap();
    assert_eq!(execution.outcome.code(), "ok");
    // The result is the one argument: the same encoding without the list around it.
    assert_eq!(execution.output.unwrap(), args[1..]);
}

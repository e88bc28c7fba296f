//! Contracts: docs and types from WIT, through the binary package, against a component's own types.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::WitType;
use actum_sandbox::{Contract, ContractError, EngineKind};
use common::{LIBC, sandbox, wat};

const WIT: &str = r"
package demo:greet@0.1.0;

/// Greeting people.
interface greet {
    /// Greets somebody by name.
    greet: func(name: string) -> result<string, string>;
}

world greeter {
    export greet;
}
";

/// Exports `demo:greet/greet@0.1.0#greet` with a parameter of this name and type.
fn component(param: &str, ty: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component {LIBC}
      (core module $m (func (export "greet") (param i32 i32) (result i32) unreachable) (func (export "init")))
      (core instance $i (instantiate $m))
      (func $greet (param "{param}" {ty}) (result (result string (error string)))
        (canon lift (core func $i "greet") (memory $libc "memory") (realloc (func $libc "realloc"))))
      (instance $greet (export "greet" (func $greet)))
      (export "demo:greet/greet@0.1.0" (instance $greet))
      (func (export "init") (canon lift (core func $i "init"))))"#
    ))
}

#[test]
fn docs_survive_the_binary_package() {
    let contract = Contract::from_text("greet.wit", WIT, None).unwrap();
    assert_eq!(contract.interfaces, ["demo:greet/greet@0.1.0"]);
    let [greet] = contract.functions.as_slice() else { panic!("one function") };
    assert_eq!(greet.docs, "Greets somebody by name.");
    assert_eq!(greet.name.to_string(), "demo:greet/greet@0.1.0#greet");
    assert_eq!(greet.to_string(), "greet(name: string) -> result<string, string>");
    assert_eq!(Contract::from_binary(&contract.wit, None).unwrap(), contract);
    assert_eq!(Contract::from_binary(&contract.wit, Some("greeter")).unwrap(), contract);
}

#[test]
fn a_component_that_does_what_is_declared_agrees() {
    let contract = Contract::from_text("greet.wit", WIT, None).unwrap();
    let bytes = component("name", "string");
    let loaded = sandbox(EngineKind::Cranelift).load(&bytes).unwrap();
    assert_eq!(loaded.functions().len(), 2, "its own `init` is exported, but not in the contract");
    contract.agrees_with(&loaded).unwrap();
    let own = Contract::from_component(&bytes).unwrap();
    own.agrees_with(&loaded).unwrap();
    assert_eq!(own.functions.len(), 2);
    assert_eq!(Contract::from_binary(&own.wit, None).unwrap(), own);
}

#[test]
fn a_disagreement_names_the_function_and_both_types() {
    let contract = Contract::from_text("greet.wit", WIT, None).unwrap();
    let sandbox = sandbox(EngineKind::Cranelift);
    for (param, ty, shown) in [
        ("name", "(list u8)", "greet(name: list<u8>) -> result<string, string>"),
        ("who", "string", "greet(who: string) -> result<string, string>"),
    ] {
        let loaded = sandbox.load(&component(param, ty)).unwrap();
        let disagreement = contract.agrees_with(&loaded).unwrap_err();
        assert_eq!(disagreement.component, shown);
        assert!(disagreement.to_string().contains("demo:greet/greet@0.1.0#greet"));
        assert!(disagreement.to_string().contains("greet(name: string)"));
    }
    let without = sandbox.load(&common::echo()).unwrap();
    assert_eq!(contract.agrees_with(&without).unwrap_err().component, "nothing");
}

#[test]
fn every_kind_of_type_is_read() {
    let contract = Contract::from_text(
        "t.wit",
        "package a:b; interface t {
            record r { x: u8, y: option<list<s64>> } variant v { a, b(r) } enum e { c, d } flags f { g, h }
            type alias = v;
            all: func(a: alias, b: e, c: f, d: tuple<char, f32>) -> result<_, r>;
            resource thing; left: func(t: borrow<thing>);
        }",
        None,
    )
    .unwrap();
    assert_eq!(
        contract.functions[0].to_string(),
        "all(a: variant { a, b(record { x: u8, y: option<list<s64>> }) }, b: enum { c, d }, c: flags { g, h }, \
         d: tuple<char, f32>) -> result<_, record { x: u8, y: option<list<s64>> }>"
    );
    assert!(matches!(contract.functions[0].params[3].ty, WitType::Tuple(_)));
    assert_eq!(contract.left_out.len(), 1);
}

#[test]
fn what_is_no_contract_is_refused() {
    let text = |text| Contract::from_text("x.wit", text, None).unwrap_err();
    assert!(matches!(text("package a:b; interface {"), ContractError::Malformed(_)));
    assert!(matches!(text("package a:b; interface i {}"), ContractError::Empty { .. }));
    let two = "package a:b; world w { export f: func(); } world v { export f: func(); }";
    assert!(matches!(text(two), ContractError::World(_)));
    assert!(Contract::from_text("x.wit", two, Some("v")).is_ok());
    assert!(matches!(Contract::from_binary(&common::echo(), None), Err(ContractError::Malformed(_))));
    assert!(matches!(Contract::from_binary(b"\0asm", None), Err(ContractError::Malformed(_))));
}

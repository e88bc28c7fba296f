//! What is not a runnable component, each refusal told apart.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::release::MAX_COMPONENT_BYTES;
use actum_sandbox::{Contract, EngineKind, LoadError, Sandbox, SandboxConfig};
use common::{echo, plain, sandbox, wat};
use std::num::NonZeroUsize;
use std::sync::Arc;

#[test]
fn refusals_are_told_apart() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let refused = |bytes: &[u8]| sandbox.load(bytes).unwrap_err();
    assert_eq!(refused(b""), LoadError::NotWasm);
    assert_eq!(refused(b"#!/bin/sh"), LoadError::NotWasm);
    assert_eq!(refused(b"  (component)"), LoadError::Text);
    assert_eq!(refused(b";; a comment\n(component)"), LoadError::Text);
    assert_eq!(refused(b"\0asm"), LoadError::Truncated { at: 0 });
    assert_eq!(refused(&wat("(module)")), LoadError::CoreModule);
    assert!(matches!(refused(&vec![0; MAX_COMPONENT_BYTES + 1]), LoadError::TooLarge { .. }));
    let mut damaged = echo();
    damaged[12] ^= 0xff;
    assert!(matches!(refused(&damaged), LoadError::Invalid { .. } | LoadError::Truncated { .. }));
    assert!(matches!(refused(&wat("(component)")), LoadError::NothingCallable { .. }));
    let wit = Contract::from_text("x.wit", "package a:b; interface c { f: func(); }", None).unwrap().wit;
    assert!(matches!(refused(&wit), LoadError::NothingCallable { .. }), "a binary WIT package");
}

#[test]
fn every_truncation_is_refused_and_most_say_so() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let whole = echo();
    let mut truncated = 0;
    for len in 8..whole.len() {
        match sandbox.load(&whole[..len]) {
            Err(LoadError::Truncated { .. }) => truncated += 1,
            // Cut between two sections: invalid, or whole but for its trailing names.
            Ok(_) | Err(LoadError::Invalid { .. } | LoadError::NothingCallable { .. }) => {}
            Err(other) => panic!("{len}: {other:?}"),
        }
    }
    assert!(truncated > whole.len() * 9 / 10);
}

#[test]
fn more_memories_than_the_pool_holds_is_a_refusal() {
    let memories = "(memory 1)".repeat(9);
    let component = wat(&format!(
        r#"(component (core module $m {memories} (func (export "run"))) (core instance $i (instantiate $m))
           (func (export "run") (canon lift (core func $i "run"))))"#
    ));
    assert!(matches!(sandbox(EngineKind::Cranelift).load(&component), Err(LoadError::Invalid { .. })));
}

#[test]
fn functions_with_resources_are_left_out_with_the_reason() {
    let component = wat(r#"(component
      (type $r' (resource (rep i32)))
      (core func $new (canon resource.new $r'))
      (core module $m (import "" "new" (func $new (param i32) (result i32)))
        (func (export "make") (result i32) (call $new (i32.const 1))) (func (export "run")))
      (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
      (export $r "thing" (type $r'))
      (func (export "make") (result (own $r)) (canon lift (core func $i "make")))
      (func (export "run") (canon lift (core func $i "run"))))"#);
    let loaded = sandbox(EngineKind::Cranelift).load(&component).unwrap();
    assert_eq!(loaded.functions().len(), 1);
    let [left] = loaded.left_out() else { panic!("one function is left out") };
    assert_eq!(left.to_string(), "make is left out: it uses a resource");
}

#[test]
fn types_whose_parts_double_at_each_level_are_bounded() {
    let mut types = String::from("(type $t0 (tuple u8 u8))");
    for level in 1..40 {
        types += &format!("(type $t{level} (tuple $t{} $t{0}))", level - 1);
    }
    let component = wat(&format!(
        r#"(component {types}
      (core module $m (memory (export "memory") 1) (func (export "run"))
        (func (export "big") (result i32) unreachable))
      (core instance $i (instantiate $m))
      (func (export "big") (result (option $t12)) (canon lift (core func $i "big") (memory $i "memory")))
      (func (export "run") (canon lift (core func $i "run"))))"#
    ));
    // 2^13 leaves and as many inner nodes: over the bound, whatever the engine itself thinks of it.
    match sandbox(EngineKind::Cranelift).load(&component) {
        Ok(loaded) => assert_eq!(loaded.left_out().len(), 1),
        Err(error) => assert!(matches!(error, LoadError::Invalid { .. }), "{error}"),
    }
}

#[test]
fn the_same_bytes_are_compiled_once() {
    let sandbox = sandbox(EngineKind::Cranelift);
    let component = echo();
    let all: Vec<_> = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..8).map(|_| scope.spawn(|| sandbox.load(&component).unwrap())).collect();
        loads.into_iter().map(|l| l.join().unwrap()).collect()
    });
    assert!(all.iter().all(|l| Arc::ptr_eq(l, &all[0])));
    assert!(Arc::ptr_eq(&sandbox.loaded(all[0].id()).unwrap(), &all[0]));
}

#[test]
fn the_least_recently_used_leaves_first() {
    let config = SandboxConfig { loaded: NonZeroUsize::new(2).unwrap(), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(config).unwrap();
    let [a, b, c] = ["nop", "nop nop", "nop nop nop"].map(plain);
    let (a, b) = (sandbox.load(&a).unwrap(), sandbox.load(&b).unwrap());
    assert!(sandbox.loaded(a.id()).is_some());
    sandbox.load(&c).unwrap();
    assert!(sandbox.loaded(a.id()).is_some());
    assert!(sandbox.loaded(b.id()).is_none());
}

//! A component over a bound is refused by name before it is compiled; what real toolchains make is far below each.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::{Authority, BlobId, ComponentId, Journal, Judgement, Limits, Outcome, SecretKey};
use actum_sandbox::replay::{Evidence, replay};
use actum_sandbox::{EngineKind, LoadError, Sandbox};
use common::{action, plain, sandbox, wat};
use std::time::{Duration, Instant};

/// An unsigned LEB128.
fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A section: its id, its length, its content.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb(content.len()), content.to_vec()].concat()
}

/// A component of these sections.
fn component(sections: &[u8]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0", sections].concat()
}

/// A component that holds a core module of these sections.
fn with_module(sections: &[u8]) -> Vec<u8> {
    component(&section(1, &[b"\0asm\x01\0\0\0", sections].concat()))
}

/// A core module with so many functions of this body (locals and code, without its size).
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let types = section(1, &[1, 0x60, 0, 0]);
    let declared = section(3, &[leb(count), vec![0; count]].concat());
    let sized = [leb(body.len()), body.to_vec()].concat();
    let code = section(10, &[leb(count), sized.repeat(count)].concat());
    with_module(&[types, declared, code].concat())
}

/// Loads it; it must be refused for this bound, soon.
fn refused(sandbox: &Sandbox, limit: &str, component: &[u8]) {
    let start = Instant::now();
    match sandbox.load(component) {
        Err(LoadError::OverBound { limit: actual, asked, allowed }) => {
            assert_eq!(actual, limit);
            assert!(asked > allowed);
            let setting = &sandbox.profile().settings[limit];
            assert_eq!(*setting, allowed.to_string(), "what is allowed is in the profile");
        }
        other => panic!("{limit}: {other:?}"),
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{limit} took {:?}", start.elapsed());
    assert_eq!(sandbox.compile_counts().compiled, 0);
}

#[test]
fn each_bound_is_refused_by_name_before_anything_is_compiled() {
    let sandbox = &sandbox(EngineKind::Cranelift);
    let nested = (0..40).fold(component(&[]), |inner, _| component(&section(4, &inner)));
    refused(sandbox, "load-depth", &nested);
    // Three bytes a level: enough levels to end a process whose reader recurses.
    let types = [&[1][..], &[0x42, 1, 1].repeat(5_000_000), &[0x42, 0]].concat();
    refused(sandbox, "load-type-depth", &component(&section(7, &types)));
    let types = [&[1, 0x41][..], &leb(300_000), &[0x01, 0x7f].repeat(300_000)].concat();
    refused(sandbox, "load-types", &component(&section(7, &types)));
    let modules = section(1, b"\0asm\x01\0\0\0").repeat(1_001);
    refused(sandbox, "load-modules", &component(&modules));
    let globals = section(6, &[leb(300_000), b"\x7f\0\x41\0\x0b".repeat(300_000)].concat());
    refused(sandbox, "load-segments", &with_module(&globals));
    let exports: Vec<u8> =
        (0..300_000).flat_map(|n: u32| [&[4][..], &n.to_le_bytes(), &[3, 0]].concat()).collect();
    refused(sandbox, "load-items", &with_module(&section(7, &[leb(300_000), exports].concat())));
    refused(sandbox, "load-functions", &functions(200_001, &[0, 0x0b]));
    let large = |bytes: usize| [vec![0], vec![0x01; bytes], vec![0x0b]].concat();
    refused(sandbox, "load-function-bytes", &functions(1, &large(1 << 20)));
    refused(sandbox, "load-code-bytes", &functions(40, &large(900 << 10)));
    let locals =
        |count: usize, code: &[u8]| [vec![1], leb(count), vec![0x7f], code.to_vec(), vec![0x0b]].concat();
    refused(sandbox, "load-locals", &functions(1, &locals(20_001, &[])));
    let loops = |count: usize| [[0x03, 0x40].repeat(count), vec![0x0b; count]].concat();
    // Within every other bound; the compiler wants minutes and gigabytes for it.
    refused(sandbox, "load-function-joints", &functions(1, &locals(1_000, &loops(200))));
    refused(sandbox, "load-joints", &functions(50, &locals(1_000, &loops(100))));
}

#[test]
fn a_component_that_multiplies_is_refused_however_small() {
    // Each level instantiates the one inside it a hundred times.
    let sandbox = &sandbox(EngineKind::Cranelift);
    let bomb = |levels: usize| {
        let innermost = String::from("(component (core module $m) (core instance (instantiate $m)))");
        (0..levels).fold(innermost, |inner, _| {
            let inner = inner.replacen("(component", "(component $c", 1);
            format!("(component {inner} {})", "(instance (instantiate $c))".repeat(100))
        })
    };
    refused(sandbox, "load-instances", &wat(&bomb(6)));
    // A component that comes from outside its text could be anything.
    let functor = r#"(component
      (component $f (import "c" (component $c)) (instance (instantiate $c)))
      (component $c)
      (instance (instantiate $f (with "c" (component $c)))))"#;
    refused(sandbox, "load-instances", &wat(functor));
    // Names and aliases for one that is inside are followed.
    let alias = r#"(component $outer
      (component $c)
      (component $d (alias outer $outer $c (component $e)) (instance (instantiate $e)))
      (instance (instantiate $d))
      (core module $m (func (export "run"))) (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run"))))"#;
    assert!(sandbox.load(&wat(alias)).is_ok());
}

#[test]
fn a_receipt_for_a_component_over_a_bound_diverges() {
    // A provider that says it ran what no honest one compiles has lied.
    let sandbox = &sandbox(EngineKind::Cranelift);
    let loaded = sandbox.load(&plain("nop")).unwrap();
    let (mut action, args) = action(&loaded, "run", &[], Limits::default());
    let execution = sandbox.execute(&loaded, &action, &args).unwrap();
    let bomb = functions(200_001, &[0, 0x0b]);
    action.component = ComponentId::of(&bomb);
    let iss = SecretKey::from_seed(&[3; 32]).did();
    let receipt = execution.receipt(action, iss, 1_700_000_000, Authority::Local, sandbox.profile_id());
    let journal = Journal::default();
    let evidence = Evidence {
        receipt: &receipt,
        component: &bomb,
        args: &args,
        output: None,
        journal: &journal,
        bodies: &Default::default(),
        stdio: None,
    };
    match replay(sandbox, &evidence).unwrap() {
        Judgement::Diverged(d) => {
            assert_eq!((d.at.as_str(), d.receipt.as_str()), ("outcome", "ok"));
            assert!(d.replay.starts_with("refused: load-functions"), "{}", d.replay);
        }
        other => panic!("{other}"),
    }
    assert_eq!(receipt.outcome, Outcome::Ok(BlobId::of(&execution.output.unwrap())));
}

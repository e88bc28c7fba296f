//! A developer publishes: what is signed, and what is refused.

use crate::harness::{Ran, Stage};
use std::{fs, process::Command};

/// A component in text with two exported interfaces, as a toolchain that adds its own would make it.
const TWO_INTERFACES: &str = r#"(component
  (core module $m (func (export "f") (result i32) i32.const 42))
  (core instance $i (instantiate $m))
  (func $f (result u32) (canon lift (core func $i "f")))
  (instance $mine (export "answer" (func $f)))
  (instance $added (export "init" (func $f)))
  (export "test:mine/api@1.0.0" (instance $mine))
  (export "tool:chain/init" (instance $added)))"#;

const ONE_FUNCTION: &str = r#"(component
  (core module $m (func (export "f") (param i32) (result i32) local.get 0 i32.const 1 i32.add))
  (core instance $i (instantiate $m))
  (func (export "next") (param "n" u32) (result u32) (canon lift (core func $i "f"))))"#;

fn refused(file: &str, content: impl AsRef<[u8]>) -> Ran {
    let stage = Stage::new();
    stage.write(file, content);
    let ran = stage.actum("dev", &["publish", file, "--name", "it", "--intent", "Test"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "", "nothing is printed as if it were published");
    let after = stage.actum("dev", &["run", "it", "f"]);
    assert_eq!(after.code, 5, "nothing was stored: {after:?}");
    ran
}

#[test]
fn a_new_capability_builds_passes_its_own_test_and_is_published() {
    let stage = Stage::new();
    stage.actum("dev", &["new", "greet"]).exits(0);
    stage.actum("dev", &["new", "greet"]).exits(2).says("already exists");
    let cargo = |args: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(stage.path().join("greet"));
        for key in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
            command.env_remove(key);
        }
        command.output().expect("cargo runs")
    };
    let tested = cargo(&["test"]);
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    assert!(String::from_utf8_lossy(&tested.stdout).contains("2 passed"));
    stage.actum("dev", &["build", "greet"]).exits(0).says("greet(name: string) -> result<string, string>");
    let first = stage.actum("dev", &["publish", "greet"]).exits(0).says("examples reproduced: 2");
    let second = stage.actum("dev", &["publish", "greet"]).exits(0);
    assert_eq!(first.stdout, second.stdout, "the same bytes give the same id");
    let ran = stage.actum("dev", &["run", "greet", "greet", "Grace"]).exits(0);
    assert_eq!(ran.json(), serde_json::json!({"ok": "Hello, Grace!"}));
    stage.actum("dev", &["new", "type"]).exits(2).says("cannot name");
    stage.actum("dev", &["new", "Bad_Name"]).exits(2);
}

#[test]
fn a_release_carries_docs_types_and_examples() {
    let stage = Stage::new();
    let capability = actum_capabilities::find("text-stats").expect("it is built in");
    for (file, text) in capability.wit {
        stage.write(&format!("wit/text-stats/{file}"), text);
    }
    stage.write("capabilities/text-stats/actum.toml", capability.manifest);
    stage.write("capabilities/text-stats/it.wasm", capability.component);
    let published = stage
        .actum("dev", &["--format", "json", "publish", "capabilities/text-stats/it.wasm"])
        .exits(0)
        .json();
    let functions = published["functions"].as_array().expect("functions");
    let count = functions
        .iter()
        .find(|f| f["name"].as_str().is_some_and(|n| n.ends_with("#count-words")))
        .expect("it");
    assert!(count["docs"].as_str().is_some_and(|d| d.contains("Count words")), "{count}");
    assert!(
        count["signature"].as_str().is_some_and(|s| s.starts_with("count-words(text: string)")),
        "{count}"
    );
    assert_eq!(published["examples"], 2);
    let release: actum_model::ReleaseId =
        published["release"].as_str().expect("an id").parse().expect("a release id");
    let again = stage.actum("dev", &["publish", "capabilities/text-stats/it.wasm"]).exits(0);
    assert_eq!(again.stdout.trim(), release.to_string());
}

#[test]
fn only_the_declared_interface_is_offered() {
    let stage = Stage::new();
    stage.write("two.wat", TWO_INTERFACES);
    let describe = ["publish", "two.wat", "--name", "two", "--intent", "Answer"];
    stage.actum("dev", &describe).exits(2).says("tool:chain/init").says("--interface");
    stage
        .actum("dev", &[&describe[..], &["--interface", "no:such/thing"]].concat())
        .exits(3)
        .says("does not export");
    stage.actum("dev", &[&describe[..], &["--interface", "test:mine/api"]].concat()).exits(0);
    assert_eq!(stage.actum("dev", &["run", "two", "answer"]).exits(0).json(), 42);
    stage.actum("dev", &["run", "two", "init"]).exits(5).says("no function \"init\"");
}

#[test]
fn text_that_is_no_component_is_refused() {
    assert!(refused("it.wasm", "just some text").stderr.contains("not"));
    assert!(refused("it.wat", "(component (oops))").stderr.contains("not WebAssembly text"));
}

#[test]
fn a_core_module_is_refused() {
    let module = wat::parse_str("(module (func (export \"f\")))").expect("it parses");
    assert!(refused("it.wasm", module).stderr.contains("a core WebAssembly module, not a component"));
}

#[test]
fn a_truncated_component_is_refused() {
    let component = wat::parse_str(ONE_FUNCTION).expect("it parses");
    let cut = component.len() - 7;
    refused("it.wasm", &component[..cut]);
}

#[test]
fn an_oversized_file_is_refused_without_being_read() {
    let stage = Stage::new();
    let path = stage.write("big.wasm", "");
    fs::File::options()
        .write(true)
        .open(path)
        .and_then(|f| f.set_len((64 << 20) + 1))
        .expect("a sparse file");
    let ran = stage.actum("dev", &["publish", "big.wasm", "--name", "it", "--intent", "Test"]);
    ran.exits(2).says("67108865 bytes");
}

fn publish_with(manifest: &str) -> Ran {
    let stage = Stage::new();
    stage.write("next.wat", ONE_FUNCTION);
    stage
        .write("actum.toml", format!("name = \"next\"\nversion = \"1.0.0\"\nintent = \"Count\"\n{manifest}"));
    stage.actum("dev", &["publish", "next.wat"])
}

#[test]
fn an_example_that_does_not_reproduce_is_refused() {
    publish_with("[[example]]\nfunction = \"next\"\nargs = [1]\noutput = 2\n").exits(0);
    let ran = publish_with("[[example]]\nfunction = \"next\"\nargs = [1]\noutput = 3\n");
    ran.exits(7).says("should give 3, gave 2");
    publish_with("[[example]]\nfunction = \"next\"\nargs = [\"x\"]\noutput = 3\n").exits(3).says("u32");
    publish_with("[[example]]\nfunction = \"prev\"\n").exits(3).says("no function \"prev\"");
}

#[test]
fn unknown_keys_and_permissions_are_refused() {
    publish_with("colour = \"blue\"\n").exits(3).says("colour");
    publish_with("permissions = [\"telepathy\"]\n").exits(3).says("telepathy");
    publish_with("version = 2\n").exits(3).says("actum.toml");
}

#[test]
fn a_permission_that_is_needed_must_be_asked_for() {
    let stage = Stage::new();
    let component = stage.guest("network");
    let ran = stage.actum("dev", &["publish", &component, "--name", "it", "--intent", "Test"]);
    ran.exits(3).says("wasi:").says("permissions = [\"network\"]");
}

#[test]
fn a_wit_package_that_disagrees_with_the_component_is_refused() {
    let stage = Stage::new();
    stage.write("next.wat", ONE_FUNCTION);
    stage.write("wit/world.wit", "package test:next;\nworld next { export next: func(n: u32) -> string; }\n");
    stage.write("actum.toml", "name = \"next\"\nversion = \"1.0.0\"\nintent = \"Count\"\nwit = \"wit\"\n");
    stage.actum("dev", &["publish", "next.wat"]).exits(3).says("disagree").says("next");
}

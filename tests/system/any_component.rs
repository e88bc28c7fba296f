//! Any typed component is a capability: other languages, hand-written text, and command programs.

use crate::harness::{Stage, bytes};
use std::process::Command;

#[test]
fn a_command_program_runs_with_arguments_stdin_and_stdout_and_replays() {
    let stage = Stage::new();
    let component = stage.guest("command");
    let stdin = bytes(b"a line\n");
    let args = serde_json::json!({"args": ["one", "two"], "stdin": stdin}).to_string();
    let ran = stage.actum("you", &["run", &component, "run", &args]).exits(0);
    let json = ran.json();
    let stdout = json["ok"]["stdout"].as_str().expect("stdout");
    assert!(!stdout.is_empty(), "{json}");
    assert_eq!(stage.actum("you", &["replay", &ran.receipt()]).exits(0).stdout.trim(), "identical");
}

#[test]
fn a_component_written_as_text_runs_and_replays() {
    let stage = Stage::new();
    let text = r#"(component
      (core module $m
        (memory (export "memory") 1)
        (func (export "div") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_u))
      (core instance $i (instantiate $m))
      (func (export "div") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "div"))))"#;
    stage.write("div.wat", text);
    let ran = stage.actum("you", &["run", "div.wat", "div", r#"{"a": 84, "b": 2}"#]).exits(0);
    assert_eq!(ran.json(), 42);
    stage.actum("you", &["replay", &ran.receipt()]).exits(0);
    let trap =
        stage.actum("you", &["run", "div.wat", "div", "[1, 0]"]).exits(6).says("integer-division-by-zero");
    assert_eq!(stage.actum("you", &["replay", &trap.receipt()]).exits(0).stdout.trim(), "identical");
}

const C_SOURCE: &str = r#"
typedef unsigned char u8; typedef unsigned int u32;
static u8 heap[1 << 20]; static u32 top;
/* The canonical ABI's allocator: the host asks it for room for arguments. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) {
    top = (top + align - 1) & ~(align - 1);
    u8 *at = heap + top;
    top += size;
    for (u32 i = 0; i < old_size && i < size; i++) at[i] = ((u8 *)old)[i];
    return at;
}
static struct { const u8 *data; u32 size; } reversed;
__attribute__((export_name("test:reverse/api@1.0.0#reverse"))) void *reverse(u8 *data, u32 size) {
    u8 *out = heap + top;
    top += size;
    for (u32 i = 0; i < size; i++) out[i] = data[size - 1 - i];
    reversed.data = out;
    reversed.size = size;
    return &reversed;
}
"#;

/// A component in C, as someone with Debian's clang would make it: no SDK of ours, no libc.
#[test]
fn a_component_written_in_c_runs_and_replays() {
    let stage = Stage::new();
    let source = stage.write("reverse.c", C_SOURCE);
    let module = stage.path().join("reverse.wasm");
    let flags = ["--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry", "-o"];
    let compiled = Command::new("clang").args(flags).arg(&module).arg(&source).output();
    let compiled = match compiled {
        Ok(output) => output,
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "CI has clang");
            eprintln!("SKIPPED: a component in C needs clang and wasm-ld: {e}");
            return;
        }
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let wit = "package test:reverse@1.0.0;\ninterface api { reverse: func(data: list<u8>) -> list<u8>; }\nworld w { export api; }\n";
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("world.wit", wit).expect("WIT");
    let world = resolve.select_world(&[package], None).expect("a world");
    let mut module = std::fs::read(module).expect("a module");
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .expect("the world fits");
    let component = wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|e| e.validate(true).encode())
        .expect("a component");
    stage.write("reverse.component.wasm", component);
    let args = serde_json::json!([bytes(b"stressed")]).to_string();
    let ran = stage.actum("you", &["run", "reverse.component.wasm", "reverse", &args]).exits(0);
    assert_eq!(ran.json(), bytes(b"desserts"));
    assert_eq!(stage.actum("you", &["replay", &ran.receipt()]).exits(0).stdout.trim(), "identical");
}

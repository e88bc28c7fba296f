//! A granted tree of files: the guest sees it and nothing else, changes nothing, and sees the same again without a host.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use actum_model::tree::{Directory, Entry};
use actum_model::{
    Action, Authority, BlobId, Bodies, Body, Granted, Journal, JournalEntry, Judgement, Limits, Outcome,
    Receipt, SecretKey, Value, codec, permission, value,
};
use actum_sandbox::replay::{Evidence, ReplayError, replay};
use actum_sandbox::{EngineKind, Execution, Host, Sandbox, Surroundings};
use common::action;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

/// One sandbox of each engine for all tests: each compiles the guest once.
static COMPILED: LazyLock<Sandbox> = LazyLock::new(|| common::sandbox(EngineKind::Cranelift));
static INTERPRETED: LazyLock<Sandbox> = LazyLock::new(|| common::sandbox(EngineKind::Pulley));

/// A host with blocks and nothing else.
#[derive(Default)]
struct Shelf {
    blocks: BTreeMap<BlobId, Vec<u8>>,
    asked: Mutex<Vec<BlobId>>,
}

impl Host for Shelf {
    fn block(&self, id: &BlobId, _max_bytes: u64) -> Result<Vec<u8>, String> {
        self.asked.lock().unwrap().push(*id);
        self.blocks.get(id).cloned().ok_or_else(|| "not here".to_owned())
    }
}

impl Shelf {
    fn keep(&mut self, bytes: &[u8]) -> BlobId {
        let id = BlobId::of(bytes);
        self.blocks.insert(id, bytes.to_vec());
        id
    }

    fn file(&mut self, bytes: &[u8]) -> Entry {
        Entry::File(self.keep(bytes), bytes.len() as u64)
    }

    fn directory(&mut self, entries: &[(&str, Entry)]) -> BlobId {
        let entries = entries.iter().map(|(name, entry)| ((*name).to_owned(), *entry)).collect();
        self.keep(&Directory { entries }.bytes())
    }
}

fn large() -> Vec<u8> {
    (0..1 << 20).map(|n: u32| n.to_le_bytes()[(n % 4) as usize]).collect()
}

/// `B`, `a.txt`, `empty`, `large`, `same`, `sub/` with `deep/` with `leaf`, `é`.
fn shelf() -> (Shelf, BlobId) {
    let mut shelf = Shelf::default();
    let hello = shelf.file(b"hello, file");
    let leaf = shelf.file(b"leaf");
    let deep = Entry::Directory(shelf.directory(&[("leaf", leaf)]));
    let sub = Entry::Directory(shelf.directory(&[("deep", deep)]));
    let (empty, large) = (shelf.file(b""), shelf.file(&large()));
    let root = shelf.directory(&[
        ("é", empty),
        ("a.txt", hello),
        ("B", leaf),
        ("sub", sub),
        ("empty", empty),
        ("large", large),
        ("same", hello),
    ]);
    (shelf, root)
}

/// One action of the guest, run.
#[derive(Debug)]
struct Ran {
    args: Vec<u8>,
    receipt: Receipt,
    execution: Execution,
    result: Option<Value>,
}

fn component() -> &'static [u8] {
    actum_capabilities::guests::READER.component
}

fn run_with(tree: Option<BlobId>, host: Arc<Shelf>, function: &str, args: &[Value], limits: Limits) -> Ran {
    let sandbox = &COMPILED;
    let loaded = sandbox.load(component()).unwrap();
    let (action, args): (Action, _) = action(&loaded, function, args, limits);
    let permissions = tree.map(|tree| Granted::Files(permission::Files { tree })).into_iter().collect();
    let action = Action { permissions, ..action };
    let around = Surroundings { host, ..Surroundings::default() };
    let execution = sandbox.execute_in(&loaded, &action, &args, &around).unwrap();
    let ty = loaded.function(&action.function).unwrap().result.clone();
    let result = execution
        .output
        .as_ref()
        .map(|bytes| value::decode_result(ty.as_ref(), bytes, bytes.len()).unwrap().unwrap());
    let iss = SecretKey::from_seed(&[3; 32]).did();
    let receipt = execution.receipt(action, iss, 1_700_000_000, Authority::Local, sandbox.profile_id());
    Ran { args, receipt, execution, result }
}

fn run(tree: BlobId, host: Shelf, function: &str, args: &[Value]) -> Ran {
    run_with(Some(tree), Arc::new(host), function, args, Limits::default())
}

/// Runs with the tree that most tests use.
fn on_tree(function: &str, args: &[Value]) -> Ran {
    let (shelf, root) = shelf();
    run(root, shelf, function, args)
}

impl Ran {
    fn judge_with(
        &self,
        sandbox: &Sandbox,
        journal: &Journal,
        bodies: &Bodies,
    ) -> Result<Judgement, ReplayError> {
        let receipt = Receipt { journal: journal.id(), ..self.receipt.clone() };
        let stdio = self.execution.stdio_block().map(|(_, bytes)| bytes);
        replay(
            sandbox,
            &Evidence {
                receipt: &receipt,
                component: component(),
                args: &self.args,
                output: self.execution.output.as_deref(),
                journal,
                bodies,
                stdio: stdio.as_deref(),
            },
        )
    }

    /// Replays it under both engines, with nothing but the evidence.
    fn replays(self) -> Self {
        for sandbox in [&*COMPILED, &*INTERPRETED] {
            let (journal, bodies) = (&self.execution.journal, &self.execution.bodies);
            let judgement = self.judge_with(sandbox, journal, bodies).unwrap();
            assert_eq!(judgement, Judgement::Identical);
        }
        self
    }

    /// What the function gave, where it is a `result`.
    fn ok(&self) -> &Value {
        match &self.result {
            Some(Value::Result(Ok(Some(value)))) => value,
            other => panic!("{other:?} {:?}", self.execution.outcome),
        }
    }

    fn err(&self) -> &str {
        match &self.result {
            Some(Value::Result(Err(Some(value)))) => text(value),
            other => panic!("{other:?} {:?}", self.execution.outcome),
        }
    }

    fn entries(&self) -> &[JournalEntry] {
        &self.execution.journal.entries
    }

    /// The blocks on the tape, in order.
    fn touched(&self) -> Vec<BlobId> {
        let block = |entry: &JournalEntry| {
            assert_eq!(entry.function, "wasi:filesystem#block");
            codec::decode::<BlobId>(&entry.asked, 100).unwrap()
        };
        self.entries().iter().map(block).collect()
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        other => panic!("{other:?}"),
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::List(items) | Value::Record(items) | Value::Tuple(items) => items,
        other => panic!("{other:?}"),
    }
}

fn path(path: &str) -> Value {
    Value::String(path.to_owned())
}

fn span(at: &str, offset: u64, count: u64) -> [Value; 3] {
    [path(at), Value::U64(offset), Value::U64(count)]
}

#[test]
fn without_a_grant_there_is_no_directory() {
    let (shelf, _) = shelf();
    let host = Arc::new(shelf);
    for (function, args) in [
        ("walk", vec![path("/")]),
        ("read", vec![path("/a.txt")]),
        ("read", vec![path("/etc/passwd")]),
        ("look", span("a.txt", 0, 1).to_vec()),
    ] {
        let ran = run_with(None, host.clone(), function, &args, Limits::default()).replays();
        assert!(!ran.err().is_empty());
        assert!(ran.entries().is_empty(), "nothing was asked");
    }
    assert!(host.asked.lock().unwrap().is_empty());
}

#[test]
fn a_tree_is_listed_in_the_order_of_its_names_bytes() {
    let ran = on_tree("walk", &[path("/")]).replays();
    let found: Vec<_> = items(ran.ok())
        .iter()
        .map(|entry| match items(entry) {
            [Value::String(path), Value::Bool(directory), Value::U64(size)] => {
                (path.as_str(), *directory, *size)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        found,
        [
            ("/B", false, 4),
            ("/a.txt", false, 11),
            ("/empty", false, 0),
            ("/large", false, 1 << 20),
            ("/same", false, 11),
            ("/sub", true, 0),
            ("/sub/deep", true, 0),
            ("/sub/deep/leaf", false, 4),
            ("/é", false, 0),
        ]
    );
}

#[test]
fn files_are_read_whole_or_from_an_offset() {
    assert_eq!(text(on_tree("read", &[path("/a.txt")]).replays().ok()), "hello, file");
    assert_eq!(text(on_tree("read", &[path("sub/deep/leaf")]).replays().ok()), "leaf");
    assert_eq!(text(on_tree("read", &[path("/sub/../sub/./deep//leaf")]).ok()), "leaf");
    assert_eq!(text(on_tree("read", &[path("/empty")]).replays().ok()), "");
    let at = |offset, count| on_tree("read-at", &span("/a.txt", offset, count)).ok().clone();
    assert_eq!(at(7, 100), Value::Bytes(b"file".into()));
    assert_eq!(at(0, 5), Value::Bytes(b"hello".into()));
    assert_eq!(at(11, 5), Value::Bytes(vec![]));
    assert_eq!(at(1 << 40, 5), Value::Bytes(vec![]));
}

#[test]
fn past_the_standard_library_it_is_the_same_tree() {
    let look = |at: &str, offset, count| on_tree("look", &span(at, offset, count));
    let ran = look("a.txt", 7, 2).replays();
    let [kind, flags, size, links, timed, _, bytes, end] = items(ran.ok()) else { panic!("{ran:?}") };
    assert!(text(kind).contains("RegularFile"), "{kind:?}");
    assert!(text(flags).contains("READ") && !text(flags).contains("WRITE"), "{flags:?}");
    assert_eq!((size, links, timed), (&Value::U64(11), &Value::U64(1), &Value::Bool(false)));
    assert_eq!((bytes, end), (&Value::Bytes(b"fi".into()), &Value::Bool(false)));
    let read = |offset, count| items(look("a.txt", offset, count).ok())[6..].to_vec();
    assert_eq!(read(7, u64::MAX), [Value::Bytes(b"file".into()), Value::Bool(true)]);
    assert_eq!(read(u64::MAX, u64::MAX), [Value::Bytes(vec![]), Value::Bool(true)]);
    assert_eq!(look("sub", 0, 1).err(), "is-directory");
}

#[test]
fn the_same_content_is_the_same_object() {
    let same = |a: &str, b: &str| on_tree("same", &[path(a), path(b)]).ok().clone();
    assert_eq!(same("a.txt", "same"), Value::Bool(true));
    assert_eq!(same("sub", "sub/deep/.."), Value::Bool(true));
    assert_eq!(same("a.txt", "B"), Value::Bool(false));
    assert_eq!(same("sub", "sub/deep"), Value::Bool(false));
    let hash = |at| items(on_tree("look", &span(at, 0, 0)).ok())[5].clone();
    assert_eq!(hash("a.txt"), hash("same"));
    assert_ne!(hash("a.txt"), hash("B"));
}

#[test]
fn what_is_not_there_and_what_lies_outside_are_told_apart() {
    let refusal = |at: &str| on_tree("look", &span(at, 0, 0)).err().to_owned();
    for at in ["missing", "sub/missing/leaf", "", "a.txt\0", "A.TXT", "sub\\deep"] {
        assert_eq!(refusal(at), "no-entry", "{at:?}");
    }
    for at in ["/", "/a.txt", "/etc/passwd", "..", "../a.txt", "sub/../..", "sub/../../a.txt", "./.././a.txt"]
    {
        assert_eq!(refusal(at), "not-permitted", "{at:?}");
    }
    for at in ["a.txt/", "a.txt/.", "a.txt/..", "a.txt/b"] {
        assert_eq!(refusal(at), "not-directory", "{at:?}");
    }
    for at in ["n".repeat(256), "./".repeat(300), "d/".repeat(2_100), "x".repeat(1 << 20)] {
        assert_eq!(refusal(&at), "name-too-long");
    }
    // The same from the standard library, which has words of its own.
    let read = |at: &str| on_tree("read", &[path(at)]).replays().err().to_owned();
    assert!(read("/missing").starts_with("No such file"), "{}", read("/missing"));
    for at in ["/../a.txt", "../etc/passwd", "/sub/../../a.txt"] {
        assert!(read(at).starts_with("Operation not permitted"), "{at:?}: {}", read(at));
    }
    assert!(read("/sub").starts_with("Is a directory"), "{}", read("/sub"));
}

#[test]
fn every_change_is_refused_as_read_only() {
    for at in ["/a.txt", "/sub", "/missing"] {
        let ran = on_tree("change", &[path(at)]).replays();
        let attempts = items(ran.result.as_ref().unwrap());
        assert_eq!(attempts.len(), 11);
        for attempt in attempts {
            let [what, came] = items(attempt) else { panic!("{attempt:?}") };
            // Copying opens what it copies first.
            if text(what) != "copy" || at == "/a.txt" {
                assert!(text(came).starts_with("Read-only file system"), "{at}: {attempt:?}");
            }
        }
    }
}

#[test]
fn only_what_the_guest_touches_is_fetched_and_once() {
    let (shelf, root) = shelf();
    let leaf = BlobId::of(b"leaf");
    let Entry::Directory(sub) = Directory::decode(&shelf.blocks[&root]).unwrap().entries["sub"] else {
        panic!()
    };
    let Entry::Directory(deep) = Directory::decode(&shelf.blocks[&sub]).unwrap().entries["deep"] else {
        panic!()
    };
    let host = Arc::new(shelf);
    let limits = Limits::default();
    let ran = run_with(Some(root), host.clone(), "read", &[path("/sub/deep/../deep/leaf")], limits);
    assert_eq!(ran.touched(), [root, sub, deep, leaf]);
    assert_eq!(*host.asked.lock().unwrap(), ran.touched());
    // To see names, kinds, sizes and hashes is not to touch.
    let walked = on_tree("walk", &[path("/")]);
    assert_eq!(walked.touched(), [root, sub, deep]);
}

#[test]
fn a_large_file_lies_beside_the_journal() {
    let ran = on_tree("measure", &[path("/large")]).replays();
    assert_eq!(*ran.ok(), Value::U64(1 << 20));
    let id = BlobId::of(&large());
    assert_eq!(ran.execution.bodies, Bodies::from([(id, large())]));
    assert_eq!(ran.entries()[1].bodies, [id]);
    assert!(ran.execution.fuel > 2 << 20, "the block and its reading are paid for: {}", ran.execution.fuel);
    // A changed body is no evidence.
    let mut changed = ran.execution.bodies.clone();
    changed.get_mut(&id).unwrap()[0] ^= 1;
    for bodies in [&changed, &Bodies::new()] {
        let judgement = ran.judge_with(&COMPILED, &ran.execution.journal, bodies);
        assert!(matches!(judgement, Err(ReplayError::NotNamed { .. })), "{judgement:?}");
    }
}

#[test]
fn a_journal_with_other_bytes_for_a_block_diverges() {
    let forge = |ran: &Ran, at: usize, told: Result<Body, String>, bodies: Vec<BlobId>| {
        let mut journal = ran.execution.journal.clone();
        journal.entries[at].told = codec::encode(&told).into();
        journal.entries[at].bodies = bodies;
        let mut beside = ran.execution.bodies.clone();
        beside.insert(BlobId::of(&[1; 2_000]), vec![1; 2_000]);
        match ran.judge_with(&COMPILED, &journal, &beside).unwrap() {
            Judgement::Diverged(divergence) => divergence,
            other => panic!("{other}"),
        }
    };
    let small = on_tree("read", &[path("/a.txt")]);
    let divergence = forge(&small, 1, Ok(Body::of(b"hello, FILE")), vec![]);
    assert_eq!(divergence.at, "journal entry 2");
    assert!(divergence.receipt.contains("it is not the block"), "{divergence:?}");
    // The right bytes at the wrong place, where they weigh nothing.
    let (hello, id) = (b"hello, file", BlobId::of(b"hello, file"));
    let divergence = forge(&small, 1, Ok(Body::of(hello)), vec![BlobId::of(&[1; 2_000])]);
    assert!(divergence.receipt.contains("its bodies are not those"), "{divergence:?}");
    assert_eq!(forge(&small, 1, Ok(Body::Id(id)), vec![]).at, "journal entry 2");
    let big = on_tree("measure", &[path("/large")]);
    let id = BlobId::of(&large());
    assert_eq!(forge(&big, 1, Ok(Body::Id(id)), vec![]).at, "journal entry 2");
    assert_eq!(forge(&big, 1, Ok(Body::Bytes(large().into())), vec![]).at, "journal entry 2");
    let other = BlobId::of(&[1; 2_000]);
    assert_eq!(forge(&big, 1, Ok(Body::Id(other)), vec![other]).at, "journal entry 2");
    // That a block was not there can be forged, but not without another output.
    assert_ne!(forge(&big, 1, Err("not here".to_owned()), vec![]).at, "journal entry 2");
}

#[test]
fn a_block_that_is_missing_or_false_is_an_input_error() {
    let io = |shelf: Shelf, root, at: &str| {
        let ran = run(root, shelf, "look", &span(at, 0, 100)).replays();
        assert_eq!(ran.err(), "io", "{at}");
        ran
    };
    // Not there.
    let (mut missing, root) = shelf();
    missing.blocks.remove(&BlobId::of(b"leaf"));
    io(missing, root, "B");
    // Other bytes than those of the id: refused before the guest sees one, and not kept.
    let (mut lying, root) = shelf();
    lying.blocks.insert(BlobId::of(b"leaf"), b"LEAF".to_vec());
    let ran = io(lying, root, "B");
    assert!(!ran.entries()[1].told.windows(4).any(|w| w == b"LEAF"));
    let (mut lying, root) = shelf();
    lying.blocks.insert(root, Directory::default().bytes());
    io(lying, root, "B");
    // Another size than the directory says.
    let mut sizes = Shelf::default();
    let id = sizes.keep(b"four");
    let root = sizes.directory(&[("short", Entry::File(id, 5)), ("long", Entry::File(id, 3))]);
    let (a, b) = (sizes.blocks.clone(), sizes.blocks.clone());
    io(Shelf { blocks: a, ..Shelf::default() }, root, "short");
    io(Shelf { blocks: b, ..Shelf::default() }, root, "long");
    // A directory that is none.
    let mut odd = Shelf::default();
    let garbage = odd.keep(b"not a directory");
    let root = odd.directory(&[("sub", Entry::Directory(garbage))]);
    io(odd, root, "sub/x");
    let mut odd = Shelf::default();
    let up = [("..".to_owned(), Entry::Directory(BlobId::of(b"")))].into();
    let root = odd.keep(&Directory { entries: up }.bytes());
    io(odd, root, "x");
}

#[test]
fn more_than_the_journal_holds_ends_the_action() {
    let (shelf, root) = shelf();
    let limits = Limits { journal_bytes: 1 << 19, ..Limits::default() };
    let ran = run_with(Some(root), Arc::new(shelf), "measure", &[path("/large")], limits).replays();
    assert_eq!(ran.execution.outcome, Outcome::JournalTooLarge);
}

#[test]
fn open_files_are_bounded() {
    let ran = on_tree("hoard", &[path("a.txt"), Value::U32(9_000)]).replays();
    assert_eq!(*ran.ok(), Value::U32(9_000));
    let ran = on_tree("hoard", &[path("a.txt"), Value::U32(11_000)]).replays();
    assert!(matches!(ran.execution.outcome, Outcome::Trap(_)), "{:?}", ran.execution.outcome);
}

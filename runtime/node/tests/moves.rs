//! Components move: from every provider at once, and on from where a killed process left off.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod stage;

use actum_model::{ComponentId, Filters, release::CHUNK_BYTES};
use actum_node::{Home, node::Node, requester::Requester};
use stage::*;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

const MIB: u64 = 1 << 20;
/// What is fetched, about: 64 chunks.
const PADDING: usize = 16 << 20;
const DIR: &str = "MOVES_DIR";

/// Two nodes that offer one release, of a large component.
async fn providers(dir: &Path) -> (ComponentId, [Node; 2]) {
    let (one, two) = (home(dir, "one"), home(dir, "two"));
    let release = publish_echo(&one, PADDING);
    let component = release.payload().component;
    let bytes = one.store().component(&component).unwrap().unwrap();
    two.store().put_release(&release).unwrap();
    two.store().put_component(&bytes).unwrap();
    (component, [offering(one, &release, 0, None).await, offering(two, &release, 0, None).await])
}

async fn fetch(home: &Arc<Home>, addresses: &[String]) -> (Vec<u8>, Vec<u32>) {
    let requester = Requester::start(home.clone(), addresses, &[]).await.unwrap();
    let offers = requester.candidates("echo", &Filters::default()).await.unwrap();
    assert_eq!(offers.len(), addresses.len());
    let mut seen = Vec::new();
    let bytes = requester.fetch(&offers, &mut |done, _| seen.push(done)).await.unwrap();
    (bytes, seen)
}

/// Not a test of its own: what a child process does until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(dir) = env::var(DIR) else { return };
    let dir = PathBuf::from(dir);
    let address = fs::read_to_string(dir.join("address")).unwrap();
    fetch(&home(&dir, "requester"), &[address]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_was_killed_goes_on_where_it_was_and_takes_every_provider() {
    let dir = tempfile::tempdir().unwrap();
    let (component, nodes) = providers(dir.path()).await;
    let slow = Proxy::slow(&nodes[0].addresses()[0], 12 * MIB).await;
    fs::write(dir.path().join("address"), slow.address()).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child"]).env(DIR, dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    until("half of it came", || slow.bytes_down() >= 8 * MIB).await;
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!home(dir.path(), "requester").store().has_component(&component).unwrap());

    let direct =
        [Proxy::before(&nodes[0].addresses()[0]).await, Proxy::before(&nodes[1].addresses()[0]).await];
    let (bytes, seen) =
        fetch(&home(dir.path(), "requester"), &[direct[0].address(), direct[1].address()]).await;
    assert!(component.names(&bytes));
    // Verified before it was killed: what had come through the proxy, but for what was still under way.
    assert!(seen[0] >= 32 - 12, "{} chunks were here", seen[0]);
    let came: u64 = direct.iter().map(Proxy::bytes_down).sum();
    let missing = (seen.len() as u64) * CHUNK_BYTES as u64;
    assert!(came < missing + MIB, "{came} bytes came for {missing} that were missing");
    for proxy in &direct {
        assert!(proxy.bytes_down() > MIB, "one of them gave next to nothing");
    }
    for node in nodes {
        node.stop().await;
    }
}

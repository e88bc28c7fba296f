//! Components move: from every provider at once, and on from where a killed process left off.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod stage;

use actum_model::ComponentId;
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
    let offers = candidates(&requester, addresses.len()).await;
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
    let half = Proxy::before(&nodes[0].addresses()[0]).await;
    half.hold_down_after(8 * MIB);
    fs::write(dir.path().join("address"), half.address()).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child"]).env(DIR, dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    until("half of it came", || half.bytes_down() >= 8 * MIB).await;
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!home(dir.path(), "requester").store().has_component(&component).unwrap());

    let direct =
        [Proxy::before(&nodes[0].addresses()[0]).await, Proxy::before(&nodes[1].addresses()[0]).await];
    // Neither gives it all before the other has given its part.
    direct.iter().for_each(|proxy| proxy.hold_down_after(2 * MIB));
    let both = async {
        until("each of them gives", || direct.iter().all(|proxy| proxy.bytes_down() > MIB)).await;
        direct.iter().for_each(|proxy| proxy.hold_down_after(u64::MAX));
    };
    let (home, addresses) = (home(dir.path(), "requester"), direct.each_ref().map(Proxy::address));
    let ((bytes, seen), ()) = tokio::join!(fetch(&home, &addresses), both);
    assert!(component.names(&bytes));
    // Verified before it was killed: what had come through the proxy, but for what was still under way.
    assert!(seen[0] >= 32 - 12, "{} chunks were here", seen[0]);
    // Not the whole again: what was missing, and of that at most sixteen chunks twice, the last ones, which each of the two
    // may be asked for where the other takes long.
    let came: u64 = direct.iter().map(Proxy::bytes_down).sum();
    assert!(came < bytes.len() as u64, "{came} bytes came although {} chunks were here", seen[0]);
    for node in nodes {
        node.stop().await;
    }
}

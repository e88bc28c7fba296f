//! How a running node stands, for other commands of its home to say: a file that the node writes now and then, and removes
//! when it ends.

use crate::{clock, home::Home};
use actum_overlay::Traffic;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// How often a node writes how it stands, in seconds.
pub(crate) const EVERY_SECONDS: u64 = 15;
/// How old what it wrote may be before the node is taken for gone, in seconds.
const FRESH_SECONDS: u64 = 4 * EVERY_SECONDS;
/// The most bytes such a file is read of: a node writes less.
const MAX_BYTES: u64 = 64 << 10;

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// When it wrote this, in seconds since the Unix epoch.
    pub at: u64,
    /// Whether it can be reached, and if not, why, in words.
    pub reachability: String,
    /// Where it says it is, as its leases do.
    pub addresses: Vec<String>,
    /// Peers connected.
    pub connected: usize,
    /// Peers in its routing table.
    pub known: usize,
    /// Ads of others' that it holds.
    pub ads_held: usize,
    /// Places that its own offers have at others.
    pub ads_placed: usize,
    /// Connections it refused, by code.
    pub refusals: BTreeMap<String, u64>,
    /// Announcements, queries and ads of others' that it dropped, by code.
    pub dropped: BTreeMap<String, u64>,
    /// What its sessions carried since it started.
    pub traffic: Traffic,
}

fn path(home: &Home) -> PathBuf {
    home.root().join("node-status.json")
}

/// Writes how the node stands. What cannot be written is missed by nobody but whoever looks.
pub(crate) fn write(home: &Home, status: &Status) {
    let written = || {
        let new = home.root().join("node-status.json.new");
        fs::write(&new, serde_json::to_vec(status)?)?;
        fs::rename(&new, path(home))
    };
    if let Err(error) = written() {
        tracing::debug!(%error, "how this node stands could not be written");
    }
}

/// Removes what the node wrote: it runs no more.
pub(crate) fn remove(home: &Home) {
    let _ = fs::remove_file(path(home));
}

/// How this home's node stands, if one runs.
pub fn of_running_node(home: &Home) -> Option<Status> {
    let file = path(home);
    let small = fs::metadata(&file).ok()?.len() <= MAX_BYTES;
    let status: Status =
        small.then(|| fs::read(&file).ok()).flatten().and_then(|b| serde_json::from_slice(&b).ok())?;
    let fresh = clock::now_secs().saturating_sub(status.at) <= FRESH_SECONDS;
    fresh.then_some(status)
}

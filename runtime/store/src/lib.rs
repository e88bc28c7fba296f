//! Keeps what one home knows: blobs, components, receipts, releases, offers seen, peers, verdicts,
//! delegations, names and guests' buckets; and, in [`ledger`], what a node must not forget while it decides. No policy, no clock, no
//! network; everything signed comes in as [`actum_model::Signed`], so it was verified, and is kept as its exact bytes.
//!
//! # Several processes, one home
//!
//! A node runs while its owner types `actum run`, `find` or `receipt`. So the rows live in SQLite in WAL mode, which
//! locks per transaction: readers never wait, and a writer waits at most [`BUSY_TIMEOUT`] for another.
//!
//! # On disk
//!
//! ```text
//! <home>/store/                    mode 0700 on Unix, as is everything created below it
//!   open.lock                      empty; locked while a process creates or upgrades the schema
//!   actum.db  -wal  -shm           SQLite 3, application_id 0x4163746d ("Actm"), user_version = SCHEMA_VERSION
//!   ledger.db  -wal  -shm          SQLite 3; see [`ledger`]
//!   blobs/<last 2 of CID>/<CID>    one file a blob above INLINE_BYTES: exactly the bytes the CID names, nothing else
//!   components/<last 2>/<CID>      one file a component, whatever its size: exactly its binary
//!   partial/                       components on their way; see `partial.rs`
//!   tmp/                           files being written; a crash leaves them here, `sweep_temporary` removes them
//! ```
//!
//! A blob of at most [`INLINE_BYTES`] is a row of the table `blobs` instead: it then commits together with the receipt
//! that names it, in one sync of the disk rather than five. A reader looks in both places, so the boundary may move.
//!
//! A component has the same sort of CID as a blob, and unlike arguments and outputs it is given to strangers. So the
//! two are kept apart: [`Store::component`] finds only what [`Store::put_component`] kept, and [`Store::get`] of a blob
//! only blobs. The same bytes kept as both are two entries.
//!
//! | table | key | bytes kept |
//! |---|---|---|
//! | `blobs` | CID, as text | the blob |
//! | `receipts` | receipt id | the signed envelope; its evidence is found by the ids inside it |
//! | `releases` | release id | the signed envelope |
//! | `descriptors` | provider, release | the signed envelope of the highest `seq` seen |
//! | `leases` | provider | the signed envelope of the highest `seq` seen |
//! | `verdicts` | verdict id | the signed envelope |
//! | `attestations` | receipt id | the attestation of that receipt |
//! | `delegations` | delegation id | the signed envelope |
//! | `names` | name | – ; which key is called so |
//! | `offences` | – | – ; what a peer was caught at, and when |
//! | `unanswered` | invocation id | the signed invocation whose answer was lost |
//! | `experiences` | – | – ; what an action with a provider showed, and when |
//! | `due` | receipt id | – ; whose replay is owed |
//! | `flow_steps` | flow id, step | – ; the step's receipt |
//! | `proofs` | receipt id | a fraud proof that holds, without its component; of others only what came of them |
//! | `entries` | receipt id | – ; who served whom, and how much |
//! | `accounts`, `served` | provider, requester, and by hours | – ; what entries add up to |
//! | `balances` | issuer, peer | the signed envelope of the highest `seq` seen |
//! | `peers` | DID, address | – |
//! | `buckets` | requester, capability, name | – ; how many keys and bytes it holds |
//! | `bucket_keys` | bucket, key | what a guest keeps between actions |
//!
//! The other columns repeat what the envelope says, for the indexes; the envelope decides. Ids and DIDs are text, so
//! that `sqlite3 actum.db` is readable. Times are seconds since the Unix epoch.
//!
//! # What a crash can do
//!
//! A file of a blob or component is written under `tmp/`, synced, renamed, and its directory synced, before any row that needs it is
//! committed; a commit of receipts, releases or verdicts syncs the log (`synchronous = FULL`). So what was acknowledged survives a killed
//! process and a power cut, and no row lacks its blobs; a crash may leave a file without a row, which is harmless.
//! Offers and peers are soft state: their commits survive a killed process, and a power cut may undo the newest. So are
//! buckets, offences, experiences that need not last and unanswered calls until the next receipt is committed, which syncs what came before it too.
//!
//! Assumed of the medium: a sync that returned is on it, a rename within one file system is atomic, and the file
//! system is local (SQLite's WAL needs shared memory, which network file systems lack). Not assumed: that bytes stay
//! as they were. Every blob, component and envelope is checked against its id when read, and damage is reported
//! by name; [`Store::component_chunk`] alone leaves the check to its caller, as [`Store::released_chunk`] does it.

#![forbid(unsafe_code)]

mod answers;
mod attestations;
mod blobs;
mod content;
mod db;
mod delegations;
mod entries;
mod error;
mod experiences;
mod flows;
mod keyvalue;
pub mod ledger;
mod names;
mod offences;
mod offers;
mod partial;
mod proofs;
mod receipts;
mod releases;
mod unanswered;
mod verdicts;

pub use answers::Answer;
pub use blobs::{INLINE_BYTES, MAX_BLOB_BYTES};
pub use content::ContentId;
pub use db::{BUSY_TIMEOUT, SCHEMA_VERSION, Store};
pub use delegations::{MAX_LINKS_SEARCHED, MAX_LINKS_SEARCHED_PER_KEY, MAX_SUBJECTS};
pub use entries::{KeptBalance, ListedEntry, MAX_ENTRIES_LISTED, MAX_PARTNERS};
pub use error::StoreError;
pub use experiences::{Experienced, MAX_EXPERIENCES, MAX_KIND_BYTES, MAX_OWED};
pub use flows::{FlowState, MAX_FLOW_STEPS};
pub use keyvalue::{
    Bucket, KEYS_PER_PAGE, KeyvalueError, MAX_ANSWER_BYTES, MAX_BUCKET_BYTES, MAX_BUCKETS, MAX_BUCKETS_BYTES,
    MAX_KEYS_PER_BUCKET, MAX_VALUE_BYTES,
};
pub use ledger::Ledger;
pub use names::{MAX_NAME_BYTES, MAX_NAMES};
pub use offences::{MAX_OFFENCES, MAX_OFFENCES_PER_PEER, Offence, OffenceRecord};
pub use offers::{
    MAX_ADDRESS_BYTES, MAX_OFFERS, MAX_OFFERS_PER_PROVIDER, MAX_PEERS, PeerRecord, StoredOffer,
};
pub use partial::{Finished, MAX_PARTIAL_BYTES, MAX_PARTIALS, Opened, PARTIAL_STALE_SECONDS, Partial};
pub use proofs::{MAX_PROOFS, MAX_PROOFS_BYTES, ProofRecord, ProofState, UNDECIDED_KEPT_SECONDS};
pub use receipts::{Evidence, ListedReceipt, NewReceipt};
pub use unanswered::{MAX_UNANSWERED, UNANSWERED_KEPT_SECONDS, Unanswered};
pub use verdicts::VERDICTS_AT_ONCE;

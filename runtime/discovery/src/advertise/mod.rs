//! The advertise plane: permissionless and exact. A provider registers its offers at registrars, which are peers spread over
//! the distances from a key; whoever looks for the key asks some of them. After DISC-NG and the Logos service-discovery RFC.
//!
//! - A provider's [`Advertiser`] keeps its offers registered under [`keys_of`] each.
//! - Any node's [`Registrar`] holds others' ads, for a quarter of an hour each, and says who has to wait how long.
//! - A requester's [`Lookup`] walks from the farthest peers to the nearest, and verifies every ad it is given.
//!
//! All three are state with time, in milliseconds since the Unix epoch, and randomness as arguments; what they want done they
//! return. `docs/discovery.md` has every constant with its reason, and the attacks with their figures.

mod ad;
mod advertiser;
mod cache;
mod key;
pub mod limits;
mod lookup;
mod peer;
mod proofs;
mod refused;
mod registrar;
mod table;
mod ticket;
mod trie;

pub use ad::{Ad, AdRefused, Verifier};
pub use advertiser::{Advertiser, Request, Sent};
pub use key::{Key, Place, keys_of};
pub use lookup::{Answer, AnswerFault, Answered, Lookup};
pub use peer::{LocalAddresses, Peer, PeerRefused, Prefix};
pub use proofs::{Challenge, ProofFailed};
pub use refused::RegisterRefused;
pub use registrar::{Registered, Registrar, Registration, Reply};
pub use table::{Added, Table, closer_peers};
pub use ticket::{Secret, Ticket, TicketRefused};

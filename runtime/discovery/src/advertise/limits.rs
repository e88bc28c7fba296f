//! Every constant of the advertise plane, in one place. Times are milliseconds unless they say otherwise.
//!
//! Where a value is DISC-NG's own, or that of the Logos service-discovery RFC, its doc says "theirs"; the others are ours.

/// Distance buckets around a key. Bucket 0 is the farthest and holds half of all peers; the last also holds all that is
/// nearer. Theirs.
pub const BUCKETS: usize = 16;

/// Registrations an advertiser keeps alive in each bucket. Theirs.
pub const REGISTRATIONS: usize = 3;

/// Peers a lookup asks in each bucket, and the most it asks at once. Theirs.
pub const LOOKUP_PEERS: usize = 5;

/// Different providers after which a lookup no longer digs: what it has is a fair choice. Theirs.
pub const LOOKUP_PROVIDERS: usize = 30;

/// Peers still asked in each nearer bucket once a lookup has [`LOOKUP_PROVIDERS`]. Were it to stop there, three registrars
/// that answer with accomplices could end it before it came near anybody else. Ours: with two, a thousand identities of one
/// prefix hid a provider from 7 lookups in 100, with three from 3.
pub const SWEEP_PEERS: usize = 3;

/// Peers a lookup tries in one bucket, those that fail included: a bucket of dead peers costs so much and no more.
pub const LOOKUP_ATTEMPTS: usize = 10;

/// Different providers that one lookup takes in. It bounds what it remembers: 16 buckets of 5 full answers are 800.
pub const LOOKUP_MOST: usize = 800;

/// Ads in one answer. Theirs.
pub const ANSWER_ADS: usize = 10;

/// Ads in one answer whose providers registered from one address prefix: many names in one place neither crowd an answer nor
/// make a lookup believe that it has seen enough. Ours.
pub const ANSWER_PER_PREFIX: usize = 2;

/// Of the providers that the registrars of one address prefix bring, so many count towards [`LOOKUP_PROVIDERS`]. All are
/// given out; but one prefix cannot say when to stop.
pub const COUNTED_PER_PREFIX: usize = 10;

/// How long an ad has its place, at most: a quarter of an hour. Theirs. A lease or descriptor that ends earlier ends the
/// ad.
pub const AD_TTL_MS: u64 = 900_000;

/// Ads a registrar holds. Theirs. One more is refused with `registrar-full`; none is evicted for another, or a fresh one
/// would not have to wait.
pub const CAPACITY: usize = 1_000;

/// The power of the occupancy in the waiting time. Theirs: half full multiplies it by 1,024, four fifths by ten million.
pub const OCCUPANCY_POWER: u32 = 10;

/// The part of the waiting time that nobody is spared, before occupancy. Theirs.
pub const BASE: f64 = 1e-7;

/// Ads below which a key's share is taken of so many, not of those there are. Ours: DISC-NG divides by the ads there are,
/// so the second ad in an otherwise empty registrar would wait the whole 900 s for fear of crowding nobody.
pub const SHARE_FLOOR: usize = 100;

/// Ads one provider holds at a registrar. One more is refused with `too-many-ads`. A provider of ten capabilities has
/// some 60 keys, and in a small network each peer is registrar of all of them.
pub const ADS_PER_PROVIDER: usize = 64;

/// Ads one provider holds under one key at a registrar, of different releases. One more is refused with
/// `too-many-of-key`. However many, they count as one in the key's share, and one at most is drawn for an answer.
pub const ADS_PER_PROVIDER_AND_KEY: usize = 4;

/// What must be left of a descriptor's and a lease's life for an ad to be taken, in milliseconds: a minute. It also makes
/// tickets good for one use: a place always outlives the window of the ticket that won it.
pub const MIN_LIFE_MS: u64 = 60_000;

/// How long before a place ends its holder may queue for the next, while still holding it: a third of its time.
pub const RENEWAL_MS: u64 = 300_000;

/// How long after its wait a ticket is taken, by the registrar's clock. geth's; theirs of one second is no more than a slow
/// round trip.
pub const TICKET_WINDOW_MS: u64 = 5_000;

/// The shortest wait quoted, and the shortest an advertiser keeps to whatever is quoted: else a hostile registrar could
/// make it ask in a tight loop. geth's.
pub const WAIT_FLOOR_MS: u64 = 10_000;

/// A wait below this is none: the first ads of an almost empty registrar, and a provider's second and third. Ours; theirs are
/// admitted after a tenth of a millisecond.
pub const NO_WAIT_MS: f64 = 1_000.0;

/// The longest wait quoted: by then the registrar is another. Theirs.
pub const WAIT_CAP_MS: u64 = AD_TTL_MS;

/// How long an advertiser waits at one registrar in all, before it turns to another. Theirs: one and a half lives of an ad.
pub const GIVE_UP_MS: u64 = AD_TTL_MS * 3 / 2;

/// One renewal in so many goes to another registrar of the bucket. DISC-NG moves at each; but here a new registrar asks
/// for proof of possession, a chunk of up to 256 KiB, and the old one remembers. So a registration moves after some six hours.
pub const ROTATE_ONE_IN: u64 = 32;

/// Requests an advertiser has in flight, over all its keys.
pub const ADVERTISER_IN_FLIGHT: usize = 32;

/// How often an advertiser looks again for registrars it could not find.
pub const ADVERTISER_IDLE_MS: u64 = 30_000;

/// How long a peer may take to answer; a registration may need proof, which costs it two round trips more.
pub const ANSWER_TIMEOUT_MS: u64 = 10_000;

/// Candidates in one bucket of a key's table. geth's 20 standby nodes.
pub const TABLE_BUCKET: usize = 20;

/// Candidates of one /24 or /48 in one bucket of a table.
pub const TABLE_PER_PREFIX: usize = 2;

/// How long a peer is left alone after its first failure; twice that after each further one.
pub const BACK_OFF_MS: u64 = 30_000;

/// Failures in a row after which a peer leaves the table.
pub const MAX_FAILURES: u8 = 5;

/// Proofs of possession asked for at once; with more, those who come are told to wait and come again.
pub const PROOFS_IN_FLIGHT: usize = 32;

/// Of [`PROOFS_IN_FLIGHT`], those of one address prefix: peers that never answer cannot keep everybody waiting.
pub const PROOFS_PER_PREFIX: usize = 4;

/// How long a proof may take, in milliseconds; afterwards it is refused with `proof-late`.
pub const PROOF_TIMEOUT_MS: u64 = 30_000;

/// How long a proof is remembered: six hours, the life of a descriptor. After it the registrar asks for another chunk. Were it
/// an hour, a capability with six keys among 10,000 peers would send 60 MB an hour to prove what it proved.
pub const PROOF_TTL_MS: u64 = 21_600_000;

/// Proofs remembered. Beyond it the one that ends first is forgotten, and has to be given again.
pub const PROOFS_HELD: usize = 4_096;

/// Statements that a [`Verifier`](super::Verifier) remembers by default, descriptors and leases each: at most some 5 MB.
pub const VERIFIED_HELD: usize = 512;

/// Requests that one provider may make in a burst.
pub const PROVIDER_BURST: u64 = 256;
/// Milliseconds in which one provider may make one request more: sixteen a second, enough for 160 ads that each come back
/// every ten seconds.
pub const PROVIDER_EVERY_MS: u64 = 62;
/// Requests that one address prefix may make in a burst.
pub const PREFIX_BURST: u64 = 1_024;
/// Milliseconds in which one address prefix may make one request more: 64 a second, a hundredth of a core were all of them
/// to be verified anew.
pub const PREFIX_EVERY_MS: u64 = 15;
/// Providers, and prefixes, whose rates are remembered. Beyond it newcomers are refused with `busy` until another's burst
/// is whole again.
pub const RATES_HELD: usize = 4_096;
/// Providers that left of which it is remembered, each until its tombstone ends. Beyond it, a provider's ads end with its
/// lease.
pub const LEFT_HELD: usize = 4_096;
/// What a request costs that fails a check, in requests.
pub const FAULT_COST: u64 = 16;

#[cfg(test)]
mod tests {
    /// The table in `docs/discovery.md` has every constant with its value.
    #[test]
    fn the_documented_constants_are_these() {
        let documented = include_str!("../../../../docs/discovery.md");
        let constants = include_str!("limits.rs").lines().filter_map(|line| line.strip_prefix("pub const "));
        let mut count = 0;
        for constant in constants {
            let (name, rest) = constant.split_once(':').unwrap();
            let value = rest.split_once("= ").unwrap().1.trim_end_matches(';');
            assert!(documented.contains(&format!("| `{name}` | {value} |")), "{name} = {value}");
            count += 1;
        }
        assert!(count > 40);
    }
}

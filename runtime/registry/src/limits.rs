//! What a registry may hold, and how soon it makes it durable.

/// What a registry may hold, and how soon it makes it durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Providers. Default 200,000. Beyond it, one without an offer that answered a probe makes room for a new one; where
    /// there is none, the new one is refused with `too-many-providers`. It bounds memory, some 300 bytes each, and disk; it
    /// does not keep many false names out.
    pub providers: usize,
    /// Descriptors of all providers together. Default 1,000,000: some 300 bytes of memory each, and 1 to 4 KiB of disk.
    /// Beyond it, one that did not answer a probe makes room, or else one never probed; where all answered, one more is
    /// refused with `index-full`, until another expires.
    pub descriptors: usize,
    /// Descriptors of one provider, and tombstones likewise. Default 64. Those of the lowest sequence number make room; a
    /// lower one is refused with `too-many-descriptors`.
    pub descriptors_per_provider: usize,
    /// The seconds after which [`Registry::tick`](crate::Registry::tick) commits what was taken in. Default 1: how
    /// soon it is found by its words, and what a killed process may lose, where the other bound is not reached before. What
    /// is lost was soft state, and is announced again.
    pub commit_every: u64,
    /// The statements after which taking one in commits. Default 10,000: the other bound on what a killed process may
    /// lose, and at most some 80 MB of memory in between.
    pub commit_after: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            providers: 200_000,
            descriptors: 1_000_000,
            descriptors_per_provider: 64,
            commit_every: 1,
            commit_after: 10_000,
        }
    }
}

/// The most offers looked at for a query for nothing in particular: 200,000. Its answer is what comes first among those.
pub const LOOKED_AT: usize = 200_000;

/// Statements kept in memory as they were read last, descriptors and leases together: 8,192, some 20 MB.
pub(crate) const RECENT: usize = 8_192;

/// What the search library may use while it takes words in, in bytes: 64 MiB.
pub(crate) const WRITER_BYTES: usize = 64 << 20;

/// What either connection to the database may cache, in KiB: 8 MiB. The operating system caches the rest.
pub(crate) const CACHE_KIB: i64 = 8 << 10;

/// How many more candidates than asked for the search brings: some may have changed since their words were indexed.
pub(crate) const SPARE: usize = 14;

/// How many offers of each kind one call of [`Registry::to_probe`](crate::Registry::to_probe) looks at.
pub(crate) const PROBE_SCAN: usize = 65_536;

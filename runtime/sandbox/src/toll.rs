//! The toll: what the host's own work costs in fuel, so that a guest which only calls the host runs out like any other.
//!
//! It is charged by rule, never by the time a call took, and is part of the profile. A call owes it while the host works
//! and pays when it returns; a guest that cannot pay has run out of fuel.
//!
//! It pays when the outermost call returns, and before the guest's allocator runs to take the answer: what a guest cannot
//! pay for it is not told, and how its allocator ends has no say in it. While the allocator runs nothing is taken: the
//! engine may be called from there to look at the clock, the allocator's own count of fuel would overwrite what was
//! taken, and whether that happens depends on the time.

/// Fuel units for each call of a host function.
pub(crate) const CALL: u64 = 500;
/// Fuel units for each byte the host makes or copies for the guest.
pub(crate) const BYTE: u64 = 1;
/// Fuel units for each thing in a list the host looks through: a pollable, an entry of a directory.
pub(crate) const ITEM: u64 = 50;

/// What one action owes.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    owed: u64,
    /// Calls of the host, the engine's own among them, that have not returned.
    depth: u32,
    /// Times that the host, or the engine, was called, but for looking at the clock: how often it does depends on the time.
    entered: u32,
    /// The guest was ended for another reason than fuel.
    ended: bool,
}

impl Toll {
    /// The host, or the engine, is called.
    pub(crate) fn enter(&mut self) {
        self.depth = self.depth.saturating_add(1);
        self.entered = self.entered.saturating_add(1);
    }

    /// Whether the guest ever called the host, or had the engine called.
    pub(crate) fn entered(&self) -> bool {
        self.entered > 0
    }

    /// Whether a call of the host is under way.
    pub(crate) fn is_inside(&self) -> bool {
        self.depth > 0
    }

    /// The call under way is the engine's, to look at the clock.
    pub(crate) fn is_tick(&mut self) {
        self.entered = self.entered.saturating_sub(1);
    }

    /// It returns. Whether that was the outermost call, so that what is owed is due.
    pub(crate) fn leave(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        self.depth == 0
    }

    /// Notes that the guest is being ended by the wall clock or by whoever runs it. From then on nothing is due: what
    /// it can or cannot pay must not stand in for how it ended.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// One call of a host function.
    pub(crate) fn call(&mut self) {
        self.owed = self.owed.saturating_add(CALL);
    }

    /// So many bytes made or copied.
    pub(crate) fn bytes(&mut self, count: usize) {
        self.add(count, BYTE);
    }

    /// So many things looked at.
    pub(crate) fn each(&mut self, count: usize) {
        self.add(count, ITEM);
    }

    fn add(&mut self, count: usize, price: u64) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.owed = self.owed.saturating_add(count.saturating_mul(price));
    }

    /// What is owed; from now on nothing is.
    pub(crate) fn take(&mut self) -> u64 {
        let owed = std::mem::take(&mut self.owed);
        if self.ended { 0 } else { owed }
    }
}

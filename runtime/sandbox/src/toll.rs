//! The toll: what the host's own work costs in fuel, so that a guest which only calls the host runs out like any other.
//!
//! It is charged by rule, never by the time a call took, and is part of the profile. A call owes it while the host works
//! and pays when it returns; a guest that cannot pay has run out of fuel.

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
}

impl Toll {
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
        std::mem::take(&mut self.owed)
    }
}

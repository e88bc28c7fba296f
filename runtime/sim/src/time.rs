//! Virtual time.

use std::{fmt, ops::Add, time::Duration};

/// A moment, in microseconds since the simulation began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A span of virtual time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// When every simulation begins, in seconds since the Unix epoch: statements carry such times.
pub const EPOCH_SECONDS: u64 = 1_800_000_000;

impl Time {
    /// The beginning.
    pub const ZERO: Self = Self(0);

    /// So many microseconds after the beginning.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many seconds after the beginning.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the beginning.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as statements have them.
    pub const fn unix_seconds(self) -> u64 {
        EPOCH_SECONDS.saturating_add(self.0 / 1_000_000)
    }

    /// Milliseconds since the Unix epoch, as the advertise plane has them.
    pub const fn unix_millis(self) -> u64 {
        EPOCH_SECONDS.saturating_mul(1_000).saturating_add(self.0 / 1_000)
    }

    /// The moment of so many milliseconds since the Unix epoch, the beginning for what is earlier.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis.saturating_sub(EPOCH_SECONDS.saturating_mul(1_000)).saturating_mul(1_000))
    }

    /// The moment of so many seconds since the Unix epoch, the beginning for what is earlier.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self::from_seconds(seconds.saturating_sub(EPOCH_SECONDS))
    }

    /// How long after an earlier moment this is; nothing if that is later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// So many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Its microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The same, as the rules have it.
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// Its milliseconds, with what is left over.
    pub fn millis(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// Its seconds, with what is left over.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }
}

impl Add<Span> for Time {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

//! Tickets: how long somebody has waited already, in the registrar's own hand, so that the registrar need not remember.

use super::Key;
use actum_model::Did;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

use super::limits::TICKET_WINDOW_MS;

/// Separates a ticket's tag from everything else the secret authenticates.
const TICKET_DOMAIN: &[u8] = b"actum/advertise-ticket@1";
/// Separates the choice of a chunk.
const CHUNK_DOMAIN: &[u8] = b"actum/advertise-chunk@1";

/// A registrar's secret. Whoever has it can jump the queue; when it changes, those who wait begin again.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret of 32 random bytes, the caller's.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn mac(&self, domain: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of 32 bytes");
        mac.chain_update((domain.len() as u64).to_be_bytes()).chain_update(domain)
    }

    /// Which of a component's chunks a provider must show in a span of time: nobody without the secret can tell, and asking
    /// again gives the same one.
    pub(super) fn chunk(&self, provider: &Did, component: &[u8; 32], span: u64, chunks: u64) -> u64 {
        let mac = self.mac(CHUNK_DOMAIN).chain_update(provider.as_bytes()).chain_update(component);
        let tag = mac.chain_update(span.to_be_bytes()).finalize().into_bytes();
        let number = tag.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        number.checked_rem(chunks).unwrap_or(0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A registrar's word on how long an advertiser has waited. Only the registrar that made it can read it.
///
/// Three numbers, big-endian: when the waiting began and when the ticket was made, in milliseconds of the registrar's clock, and
/// the wait quoted, in milliseconds (8, 8 and 4 bytes); then an HMAC-SHA256 over them, the key, the ad and the advertiser.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ticket([u8; Self::BYTES]);

impl Ticket {
    /// A ticket's length in bytes.
    pub const BYTES: usize = 52;
    /// Of them, those before the tag.
    const CLAIM: usize = 20;

    /// A ticket as it came over a wire; whether it is any good the registrar says.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The ticket's bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    pub(super) fn seal(secret: &Secret, bound: &Bound<'_>, waited: Waited) -> Self {
        let mut bytes = [0; Self::BYTES];
        let claim = waited.to_bytes();
        let tag = bound.mac(secret, &claim).finalize().into_bytes();
        for (to, from) in bytes.iter_mut().zip(claim.iter().chain(tag.iter())) {
            *to = *from;
        }
        Self(bytes)
    }

    /// When the waiting began, if this ticket is this registrar's, for this ad, and due: not before its wait is over, and not
    /// more than [`TICKET_WINDOW_MS`] after.
    pub(super) fn open(&self, secret: &Secret, bound: &Bound<'_>, now: u64) -> Result<Waited, TicketRefused> {
        let (claim, tag) = self.0.split_at(Self::CLAIM);
        bound.mac(secret, claim).verify_slice(tag).map_err(|_| TicketRefused::Forged)?;
        let waited = Waited::from_bytes(claim).ok_or(TicketRefused::Forged)?;
        let due = waited.issued.saturating_add(u64::from(waited.wait));
        if now < due {
            return Err(TicketRefused::Early { by_ms: due - now });
        }
        if now > due.saturating_add(TICKET_WINDOW_MS) {
            return Err(TicketRefused::Late { by_ms: now - due - TICKET_WINDOW_MS });
        }
        Ok(waited)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// What a ticket says, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waited {
    /// When the waiting began.
    pub(super) began: u64,
    /// When the ticket was made.
    pub(super) issued: u64,
    /// The wait quoted in it.
    pub(super) wait: u32,
}

impl Waited {
    fn to_bytes(self) -> [u8; Ticket::CLAIM] {
        let mut bytes = [0; Ticket::CLAIM];
        let parts = [&self.began.to_be_bytes()[..], &self.issued.to_be_bytes(), &self.wait.to_be_bytes()];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (began, rest) = bytes.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        Some(Self {
            began: u64::from_be_bytes(*began),
            issued: u64::from_be_bytes(*issued),
            wait: u32::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// What a ticket is for, and good for nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a> {
    pub(super) key: &'a Key,
    /// The digest of the ad's descriptor. The lease is not in it: leases are renewed while one waits.
    pub(super) ad: &'a [u8; 32],
    pub(super) advertiser: &'a Did,
}

impl Bound<'_> {
    /// Every part has a fixed length, so they need no marks between them.
    fn mac(&self, secret: &Secret, claim: &[u8]) -> Hmac<Sha256> {
        let mac = secret.mac(TICKET_DOMAIN).chain_update(self.key.as_bytes()).chain_update(self.ad);
        mac.chain_update(self.advertiser.as_bytes()).chain_update(claim)
    }
}

/// Why a ticket was refused. Whoever waited with it begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketRefused {
    /// Not made here, or for another key, ad or advertiser, or before the registrar's secret changed.
    #[error("the ticket is not this registrar's for this key, ad and advertiser")]
    Forged,
    /// The wait it quotes is not over.
    #[error("the ticket came {by_ms} ms early")]
    Early {
        /// By how much, in milliseconds.
        by_ms: u64,
    },
    /// Its window has passed.
    #[error("the ticket came {by_ms} ms after its window of {TICKET_WINDOW_MS} ms")]
    Late {
        /// By how much, in milliseconds.
        by_ms: u64,
    },
}

impl TicketRefused {
    /// The stable code, as on wires and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forged => "ticket-forged",
            Self::Early { .. } => "ticket-early",
            Self::Late { .. } => "ticket-late",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;
    use proptest::prelude::*;

    fn did(n: u8) -> Did {
        SecretKey::from_seed(&[n; 32]).did()
    }

    proptest! {
        #[test]
        fn a_ticket_opens_for_what_it_was_made_in_its_window_and_for_nothing_else(
            began in 0u64..1 << 50, after in 0u64..1 << 30, wait in 0u32..900_001, bit in 0usize..Ticket::BYTES * 8,
            at in 0u64..=TICKET_WINDOW_MS, other in 1u8..255,
        ) {
            let secret = Secret::from_bytes([7; 32]);
            let (key, ad, advertiser) = (Key::tag("a"), [3; 32], did(1));
            let bound = Bound { key: &key, ad: &ad, advertiser: &advertiser };
            let waited = Waited { began, issued: began + after, wait };
            let due = waited.issued + u64::from(wait);
            let ticket = Ticket::seal(&secret, &bound, waited);
            prop_assert_eq!(ticket.open(&secret, &bound, due + at), Ok(waited));
            // Time.
            if due > 0 {
                prop_assert_eq!(ticket.open(&secret, &bound, due - 1), Err(TicketRefused::Early { by_ms: 1 }));
            }
            let late = due + TICKET_WINDOW_MS + 1;
            prop_assert_eq!(ticket.open(&secret, &bound, late), Err(TicketRefused::Late { by_ms: 1 }));
            // Any bit.
            let mut bytes = *ticket.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = Err(TicketRefused::Forged);
            prop_assert_eq!(Ticket::from_bytes(bytes).open(&secret, &bound, due), forged);
            // Anything else it could be for.
            let (other_key, other_ad, other_did) = (Key::tag("b"), [other ^ 3; 32], did(2));
            for bound in [
                Bound { key: &other_key, ..bound },
                Bound { ad: &other_ad, ..bound },
                Bound { advertiser: &other_did, ..bound },
            ] {
                prop_assert_eq!(ticket.open(&secret, &bound, due), forged);
            }
            prop_assert_eq!(ticket.open(&Secret::from_bytes([other ^ 7; 32]), &bound, due), forged);
        }
    }

    #[test]
    fn the_chunk_asked_for_depends_on_secret_provider_component_and_time() {
        let chunk = |secret: u8, provider: u8, component: u8, span| {
            Secret::from_bytes([secret; 32]).chunk(&did(provider), &[component; 32], span, 1 << 40)
        };
        let all =
            [chunk(1, 1, 1, 1), chunk(2, 1, 1, 1), chunk(1, 2, 1, 1), chunk(1, 1, 2, 1), chunk(1, 1, 1, 2)];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_eq!(chunk(1, 1, 1, 1), chunk(1, 1, 1, 1));
        assert_eq!(Secret::from_bytes([1; 32]).chunk(&did(1), &[1; 32], 1, 1), 0);
    }
}

//! Whether this peer can be reached, and if not, why: worked out from what the swarm saw, without asking anybody.

mod drive;

pub(crate) use drive::Relays;

use crate::{
    IpPrefix, Multiaddr, defaults,
    prefix::{Reach, ip_of, is_relayed, reach_of},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

/// Whether peers elsewhere can reach this one. Its text is for people and ends without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// Dialled back from elsewhere, at each of these addresses.
    Public {
        /// The addresses confirmed.
        addresses: Vec<Multiaddr>,
    },
    /// Dialled back at addresses of its own network, and at none that reaches further.
    Site {
        /// The addresses confirmed.
        addresses: Vec<Multiaddr>,
    },
    /// The configuration says that peers reach it at these addresses; nobody has tried.
    Announced {
        /// The addresses configured.
        addresses: Vec<Multiaddr>,
    },
    /// Not directly, but through relays: to open a session and to find a direct way, not to carry much.
    Relayed {
        /// The addresses, each through a relay.
        addresses: Vec<Multiaddr>,
    },
    /// It does not listen, on purpose: it only asks.
    NotListening,
    /// It listens on this machine's own addresses only, as by default.
    LoopbackOnly,
    /// Others see it at these addresses, and none of those that tried to dial back got through: a router or a firewall is
    /// in between.
    Blocked {
        /// The addresses tried.
        tried: Vec<Multiaddr>,
    },
    /// It listens beyond this machine, and nobody has tried yet.
    Unknown {
        /// Why not.
        because: Untested,
    },
}

/// Why nobody has tried to dial this peer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untested {
    /// Probing is switched off.
    ProbingOff,
    /// No peer is connected that dials back.
    NoProber,
    /// Peers that dial back are connected, and none saw this one at an address within the scope: they are on the same
    /// network.
    NotSeenOutside,
    /// A probe is under way.
    Probing,
}

impl Reachability {
    /// The stable name of the answer, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Public { .. } => "public",
            Self::Site { .. } => "site",
            Self::Announced { .. } => "announced",
            Self::Relayed { .. } => "relayed",
            Self::NotListening => "not-listening",
            Self::LoopbackOnly => "loopback-only",
            Self::Blocked { .. } => "blocked",
            Self::Unknown { because: Untested::ProbingOff } => "unknown-probing-off",
            Self::Unknown { because: Untested::NoProber } => "unknown-no-prober",
            Self::Unknown { because: Untested::NotSeenOutside } => "unknown-not-seen-outside",
            Self::Unknown { because: Untested::Probing } => "unknown-probing",
        }
    }
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &[Multiaddr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Public { addresses } => {
                write!(f, "reachable: a peer elsewhere dialled back at {}", list(addresses))
            }
            Self::Site { addresses } => {
                write!(f, "reachable on its own network: a peer there dialled back at {}", list(addresses))
            }
            Self::Announced { addresses } => {
                write!(f, "said to be reachable at {}, which no peer has tried", list(addresses))
            }
            Self::Relayed { addresses } => {
                write!(f, "reachable through a relay only, at {}: enough to open a session", list(addresses))
            }
            Self::NotListening => write!(f, "not reachable, on purpose: it does not listen, it only asks"),
            Self::LoopbackOnly => write!(
                f,
                "reachable on this machine only: it listens on loopback. To be reached from elsewhere, listen on \
                 /ip4/0.0.0.0/tcp/<port>"
            ),
            Self::Blocked { tried } => write!(
                f,
                "not reachable: peers see it at {} and could not dial back. Forward the port in the router, allow it in \
                 the firewall, or hold a place at a relay; then start again",
                list(tried)
            ),
            Self::Unknown { because } => match because {
                Untested::ProbingOff => write!(f, "not known: probing is switched off"),
                Untested::NoProber => write!(f, "not known yet: no peer that dials back is connected"),
                Untested::NotSeenOutside => {
                    write!(
                        f,
                        "not known yet: the peers connected are on the same network and see no address beyond it"
                    )
                }
                Untested::Probing => write!(f, "not known yet: a peer is dialling back"),
            },
        }
    }
}

/// What the swarm saw that bears on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Addresses listened on, relayed ones included.
    pub(crate) listening: Vec<Multiaddr>,
    /// Addresses that the configuration announces.
    pub(crate) announced: Vec<Multiaddr>,
    /// Addresses confirmed by a dial back.
    pub(crate) confirmed: Vec<Multiaddr>,
    /// Addresses that a dial back did not get through to.
    pub(crate) blocked: BTreeSet<Multiaddr>,
    /// Whether we ask for dials back at all.
    pub(crate) probing: bool,
    /// Connections we made to peers that dial back.
    pub(crate) probers: usize,
    /// Whether somebody saw us at an address that can be probed.
    pub(crate) seen: bool,
}

impl Facts {
    /// The answer the facts give.
    pub(crate) fn reachability(&self) -> Reachability {
        let relayed = || self.listening.iter().filter(|a| is_relayed(a)).cloned().collect::<Vec<_>>();
        let own = || self.listening.iter().filter(|a| !is_relayed(a));
        // A dial back on loopback came from this machine, and says nothing of others.
        let confirmed = |far: Reach| {
            let mut addresses = self.confirmed.clone();
            addresses.retain(|a| ip_of(a).is_some_and(|ip| reach_of(ip) == far));
            Some(addresses).filter(|a| !a.is_empty())
        };
        if let Some(addresses) = confirmed(Reach::Public) {
            return Reachability::Public { addresses };
        }
        if !self.announced.is_empty() {
            return Reachability::Announced { addresses: self.announced.clone() };
        }
        let relayed = relayed();
        if !relayed.is_empty() {
            return Reachability::Relayed { addresses: relayed };
        }
        if let Some(addresses) = confirmed(Reach::Private) {
            return Reachability::Site { addresses };
        }
        if self.listening.is_empty() {
            return Reachability::NotListening;
        }
        if own().all(|a| ip_of(a).is_some_and(|ip| reach_of(ip) == Reach::Loopback)) {
            return Reachability::LoopbackOnly;
        }
        if !self.blocked.is_empty() {
            return Reachability::Blocked { tried: self.blocked.iter().cloned().collect() };
        }
        let because = match (self.probing, self.probers, self.seen) {
            (false, ..) => Untested::ProbingOff,
            (_, 0, _) => Untested::NoProber,
            (.., false) => Untested::NotSeenOutside,
            _ => Untested::Probing,
        };
        Reachability::Unknown { because }
    }
}

/// The addresses of this machine as the peers we dialled say they see them.
///
/// Only peers we dialled are heard, because only those are asked to dial back; whoever dials us can say what it likes. A
/// few addresses are believed on the word of one party, more need two: what is believed is probed, and stays.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    witnesses: BTreeMap<IpAddr, BTreeSet<IpPrefix>>,
    believed: BTreeSet<IpAddr>,
}

impl Observed {
    /// A peer seen at `witness` says that it sees us at `ip`. True: it is now believed, and was not before.
    pub(crate) fn hear(&mut self, ip: IpAddr, witness: IpAddr) -> bool {
        if self.believed.contains(&ip) {
            return false;
        }
        if !self.witnesses.contains_key(&ip) && self.witnesses.len() >= defaults::CANDIDATES {
            // The one with the fewest witnesses makes room.
            let least = self.witnesses.iter().min_by_key(|(_, w)| w.len()).map(|(ip, _)| *ip);
            least.map(|ip| self.witnesses.remove(&ip));
        }
        let witnesses = self.witnesses.entry(ip).or_default();
        witnesses.insert(IpPrefix::party_of(witness));
        let needed = if self.believed.len() < defaults::OBSERVED_ON_ONE_WORD { 1 } else { 2 };
        if witnesses.len() < needed || self.believed.len() >= defaults::CANDIDATES {
            return false;
        }
        self.witnesses.remove(&ip);
        self.believed.insert(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    /// Listening beyond this machine, with a peer connected that dials back and saw us.
    fn facts() -> Facts {
        Facts {
            listening: vec![address("/ip4/127.0.0.1/tcp/1"), address("/ip4/192.168.1.2/tcp/1")],
            probing: true,
            probers: 1,
            seen: true,
            ..Facts::default()
        }
    }

    #[test]
    fn each_reason_has_its_words() {
        let outside = address("/ip4/8.8.8.8/tcp/1");
        let relayed = address(
            "/ip4/9.9.9.9/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
        );
        let listening = |addresses: &[&Multiaddr]| addresses.iter().map(|a| (*a).clone()).collect::<Vec<_>>();
        let loopback = address("/ip6/::1/tcp/1");
        let cases = [
            (Facts { confirmed: vec![outside.clone()], ..facts() }, "public", "dialled back at /ip4/8.8.8.8"),
            (
                Facts { confirmed: vec![address("/ip4/192.168.1.2/tcp/1")], ..facts() },
                "site",
                "dialled back at /ip4/192",
            ),
            (
                Facts { listening: listening(&[&loopback]), confirmed: vec![loopback.clone()], ..facts() },
                "loopback-only",
                "this machine only",
            ),
            (Facts { announced: vec![outside.clone()], ..facts() }, "announced", "no peer has tried"),
            (Facts { listening: listening(&[&loopback, &relayed]), ..facts() }, "relayed", "p2p-circuit"),
            (Facts { listening: vec![], ..facts() }, "not-listening", "only asks"),
            (Facts { listening: listening(&[&loopback]), ..facts() }, "loopback-only", "0.0.0.0"),
            (Facts { blocked: [outside].into(), ..facts() }, "blocked", "could not dial back"),
            (Facts { probing: false, ..facts() }, "unknown-probing-off", "switched off"),
            (Facts { probers: 0, ..facts() }, "unknown-no-prober", "no peer that dials back"),
            (Facts { seen: false, ..facts() }, "unknown-not-seen-outside", "same network"),
            (facts(), "unknown-probing", "is dialling back"),
        ];
        for (facts, code, words) in cases {
            let answer = facts.reachability();
            assert_eq!(answer.code(), code);
            assert!(answer.to_string().contains(words), "{answer}");
        }
    }

    #[test]
    fn one_party_cannot_use_up_what_is_believed() {
        let mut observed = Observed::default();
        let (liar, second): (IpAddr, IpAddr) = ("8.8.8.8".parse().unwrap(), "9.9.9.9".parse().unwrap());
        let believed = (0..=255).filter(|n| observed.hear(IpAddr::from([7, 7, 7, *n]), liar)).count();
        assert_eq!(believed, defaults::OBSERVED_ON_ONE_WORD);
        assert!(observed.witnesses.len() <= defaults::CANDIDATES);
        let honest = "6.6.6.6".parse().unwrap();
        assert!(!observed.hear(honest, liar));
        assert!(!observed.hear(honest, "8.8.8.9".parse().unwrap()), "the same party");
        assert!(observed.hear(honest, second));
        assert!(!observed.hear(honest, second), "only once");
    }
}

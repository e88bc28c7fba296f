//! Probes: a registry asks a provider for one action whose answer it knows, before it gives the offer out, and compares.

use super::{Directory, providers::offers, stated::Key};
use crate::{
    Kind, Span, Time,
    market::{self, Ctx},
    params::Conduct,
};
use actum_discovery::Probe;

/// How long a probe may take in all, as a node's.
const DEADLINE: Span = Span::from_seconds(15);

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    registry: u32,
    key: Key,
    began: Time,
}

/// What happens with probes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// It comes to the provider.
    Asks(Asked),
    /// The provider has executed it.
    Executed(Asked),
    /// The answer comes to the registry.
    Answers(Asked, Probe),
    /// No answer comes.
    Over(Asked),
}

fn event(event: Event) -> market::Event {
    market::Event::Directory(super::Event::Probe(event))
}

impl Directory {
    /// Probes what is due at a registry, as far as there is room for it.
    pub(super) fn probe(&mut self, registry: u32, ctx: &mut Ctx<'_>) {
        let now = ctx.now().unix_seconds();
        loop {
            let Some(at) = super::get(&mut self.registries, registry) else { return };
            let ip = |name| {
                let (peer, _) = self.providers.behind(name, ctx)?;
                Some(ctx.population.peer(peer)?.ip)
            };
            let Some(key) = at.next_probe(now, ip) else { return };
            ctx.figures.count("probes");
            let asked = Asked { registry, key, began: ctx.now() };
            let bytes = ctx.profile.weighs.call.saturating_add(ctx.profile.weighs.args);
            send(at.peer, bytes, asked, Event::Asks(asked), ctx);
        }
    }

    pub(super) fn handle_probe(&mut self, happens: Event, ctx: &mut Ctx<'_>) {
        match happens {
            Event::Asks(asked) => {
                ctx.carrier.delivered();
                self.asked(asked, ctx);
            }
            Event::Executed(asked) => match self.providers.behind(asked.key.name, ctx) {
                Some((peer, true)) => {
                    let weighs = &ctx.profile.weighs;
                    let bytes = weighs.done.saturating_add(weighs.output);
                    send(peer, bytes, asked, Event::Answers(asked, Probe::Answered), ctx);
                }
                _ => over_later(asked, ctx),
            },
            Event::Answers(asked, ended) => {
                ctx.carrier.delivered();
                self.probe_ended(asked, ended, ctx);
            }
            Event::Over(asked) => self.probe_ended(asked, Probe::Silent, ctx),
        }
    }

    /// A provider is asked: whatever it does to others, to an example it answers truly.
    fn asked(&mut self, asked: Asked, ctx: &mut Ctx<'_>) {
        let behind = self.providers.behind(asked.key.name, ctx).filter(|(_, there)| *there);
        let Some((peer, who)) = behind.and_then(|(peer, _)| Some((peer, ctx.population.peer(peer)?))) else {
            return over_later(asked, ctx);
        };
        let full = ctx.params.capacity.saturating_add(ctx.params.queue);
        let refusal = match who.conduct {
            Conduct::NeverAnswers => return over_later(asked, ctx),
            Conduct::Refuses => Some(Probe::Silent),
            _ if who.free_rider || !offers(who, asked.key.capability) => Some(Probe::Silent),
            _ if who.admitted >= full => Some(Probe::Busy),
            _ => None,
        };
        match refusal {
            // A refusal weighs what the answer to an announcement does: it says a code.
            Some(ended) => {
                send(peer, ctx.profile.weighs.announced, asked, Event::Answers(asked, ended), ctx);
            }
            None => {
                let takes = ctx.profile.takes.admit + self.providers.executes(peer, ctx);
                ctx.engine.after(takes, event(Event::Executed(asked)));
            }
        }
    }

    fn probe_ended(&mut self, asked: Asked, ended: Probe, ctx: &mut Ctx<'_>) {
        if ended != Probe::Answered {
            ctx.figures.count("failed_probes");
        }
        if let Some(registry) = super::get(&mut self.registries, asked.registry) {
            registry.probed(asked.key, ended, ctx.now().unix_seconds());
        }
        self.probe(asked.registry, ctx);
    }
}

/// Sends one message of a probe; one that is lost is waited for.
fn send(from: u32, bytes: u64, asked: Asked, next: Event, ctx: &mut Ctx<'_>) {
    if !ctx.carrier.send(ctx.engine, from, Kind::Action, bytes, event(next)) {
        over_later(asked, ctx);
    }
}

fn over_later(asked: Asked, ctx: &mut Ctx<'_>) {
    ctx.engine.at(asked.began + DEADLINE, event(Event::Over(asked)));
}

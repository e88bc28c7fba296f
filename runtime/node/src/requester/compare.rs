//! Replicas: the same action at others who share neither operator nor address range, and what follows if they differ.

use super::{
    CallRequest, Called, Requester, addresses,
    checks::Job,
    delegate::{Check, Tally},
};
use crate::failure::CallError;
use actum_discovery::Found;
use actum_model::{Did, Judgement};
use actum_trust::{
    Chosen, Effect, Experience, OutcomeDigest,
    replicas::{self, Considered, Settled},
};
use std::{net::IpAddr, time::Instant};

impl Requester {
    /// Has the same action done by others who share neither operator nor address range, and takes what most agree on. Says as
    /// well whether replay has found that answer true.
    #[expect(clippy::too_many_arguments, reason = "what one comparison is made of, and each is used once")]
    pub(super) async fn compare(
        &self,
        job: &Job<'_>,
        called: Called,
        first: &Chosen<&Found>,
        others: &[&Chosen<&Found>],
        replicas: u32,
        until: Instant,
        tally: &mut Tally,
    ) -> Result<(Called, bool), CallError> {
        let provider = first.candidate.provider;
        let all: Vec<Chosen<&Found>> =
            std::iter::once(first).chain(others.iter().copied()).cloned().collect();
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        let picked = replicas::independent(&all, |chosen| self.operator_of(chosen.candidate.item), wanted);
        let left = until.saturating_duration_since(Instant::now());
        let fair = replicas::fair(left, job.request.deadline);
        let request = CallRequest { deadline: left, ..job.request.clone() };
        let asking = picked.iter().filter_map(|n| all.get(*n)).filter(|c| c.candidate.provider != provider);
        let asking: Vec<_> = asking.collect();
        let asked = asking.len();
        let asking = asking.into_iter().map(async |chosen| {
            let (found, provider) = (chosen.candidate.item, chosen.candidate.provider);
            let began = Instant::now();
            let answer = async {
                let session = self.session_in(found, left).await;
                let session = session.map_err(|source| CallError::Connect { provider, source })?;
                let what = (job.release, job.function);
                self.call_one(&session, found, what, &request, false, &mut |_| {}).await
            };
            let answer = answer.await;
            (found, provider, answer, u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX))
        });
        let mut answers = vec![(first.candidate.item, called)];
        for (found, provider, answer, millis) in futures::future::join_all(asking).await {
            match answer {
                Ok(called) => {
                    self.noted(&called, Experience::Served { millis })?;
                    let fuel = called.receipt.payload().fuel;
                    tally.add(Check::Replica, provider, "answered too".to_owned(), fuel, called.bytes());
                    answers.push((found, called));
                }
                Err(error) => {
                    self.note_failure(provider, job, &error, fair)?;
                    tally.add(Check::Replica, provider, format!("no answer: {error}"), 0, 0);
                }
            }
        }
        let digests: Vec<_> = answers
            .iter()
            .map(|(_, called)| {
                let receipt = called.receipt.payload();
                (receipt.iss, OutcomeDigest::of(&receipt.outcome))
            })
            .collect();
        let agreed = match replicas::consider(job.effect, &digests) {
            Considered::Several { agreed, .. } => agreed,
            Considered::Alone { replay } => {
                let why = match asked {
                    0 => "nobody who shares neither operator nor address range with it could be asked too"
                        .to_owned(),
                    asked => format!("none of {asked} others that were asked too answered"),
                };
                tally.add(Check::Replica, provider, why.clone(), 0, 0);
                let Some((found, called)) = answers.pop().filter(|_| replay) else {
                    // Nothing but other eyes tells whether the world is what it says.
                    answers.iter().for_each(|(_, called)| tally.waste(called));
                    return Err(CallError::Unverified { provider, why });
                };
                self.replay_first(job, found, &called, tally).await?;
                return Ok((called, true));
            }
        };
        let (agreed, doubted): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(_, called)| agreed.contains(&called.receipt.payload().iss));
        // Whoever differs is looked into: a lie about what the component does shows, one about the world does not.
        let mut proven = None;
        for (found, called) in doubted {
            if job.effect > Effect::Pure {
                // It rests on what the world is said to be: that it replays would speak for nobody.
                match self.judge(job, found, &called).await {
                    Ok(Judgement::Diverged(divergence)) => drop(self.condemn(&called, divergence)?),
                    Ok(_) => {}
                    Err(error @ (CallError::Home(_) | CallError::Store(_))) => return Err(error),
                    // That it cannot be looked into is no matter of those who agree.
                    Err(error) => tracing::debug!(%error, "a replica that differs could not be run again"),
                }
                tally.add(
                    Check::Replica,
                    called.receipt.payload().iss,
                    "differs".to_owned(),
                    called.receipt.payload().fuel,
                    0,
                );
                continue;
            }
            match self.replay_first(job, found, &called, tally).await {
                // What replays is true, whoever says otherwise.
                Ok(()) if proven.is_none() => proven = Some(called),
                Ok(()) => tally.waste(&called),
                Err(CallError::Lied { .. } | CallError::Unverified { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let who: Vec<_> = agreed.iter().map(|(_, called)| called.receipt.payload().iss).collect();
        let confirmed = proven.as_ref().map(|called| called.receipt.payload().iss);
        let (by, replay) = match (replicas::settle(&provider, &who, confirmed), proven) {
            (Settled::Proven { .. }, Some(proven)) => {
                // Then those who agree on something else are looked into as well.
                for (found, called) in agreed {
                    match self.replay_first(job, found, &called, tally).await {
                        Ok(()) => tally.waste(&called),
                        Err(CallError::Lied { .. } | CallError::Unverified { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                return Ok((proven, true));
            }
            (Settled::Agreed { by, replay }, _) => (Some(by), replay),
            (Settled::Proven { .. } | Settled::Nobody, _) => (None, false),
        };
        let Some((found, called)) =
            agreed.into_iter().find(|(_, called)| Some(called.receipt.payload().iss) == by)
        else {
            let why = "no two providers gave the same answer".to_owned();
            return Err(CallError::Unverified { provider, why });
        };
        // One that was not chosen is believed less than the one that was.
        if replay {
            self.replay_first(job, found, &called, tally).await?;
        }
        Ok((called, replay))
    }

    /// Who runs a provider and in which address range, as far as anybody can tell: its key, and where it is reached.
    fn operator_of(&self, found: &Found) -> (Did, Option<String>) {
        let addresses = addresses(&found.offer);
        let ip = addresses.iter().find_map(|address| {
            let text = address.to_string();
            text.split('/').find_map(|part| part.parse::<IpAddr>().ok())
        });
        let prefix = ip.and_then(|ip| self.local.prefix(ip)).map(|prefix| format!("{prefix:?}"));
        (found.offer.descriptor().payload().iss, prefix)
    }
}

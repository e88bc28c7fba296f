//! The grants this home holds, and which of them fits a call: nobody has to name one.

use crate::{authority::Ended, home::Home};
use actum_model::{
    Action, Claim, DelegationId, Did, Function, Invocation, Terms, grant,
    run::{self, RunArgs, Use},
    ucan::{Budget, Chain, Proof},
};
use actum_store::StoreError;
use actum_trust::CLOCK_SKEW_SECONDS;
use std::collections::BTreeSet;

/// The most chains looked at for one call.
const LOOKED_AT: usize = 256;
/// The most chains tried with one provider.
pub(crate) const TRIED: usize = 4;

/// A call, as far as grants have to do with it.
#[derive(Clone, Copy)]
pub(crate) struct Calling<'a> {
    pub(crate) provider: Did,
    pub(crate) action: &'a Action,
    /// Its limits that are not lowered to what a grant gives.
    pub(crate) fixed: &'a BTreeSet<&'static str>,
    pub(crate) claim: &'a Claim,
    pub(crate) function: &'a Function,
    /// The canonical encoding of the arguments.
    pub(crate) args: &'a [u8],
    /// Its end and its beginning, in seconds since the Unix epoch.
    pub(crate) exp: u64,
    pub(crate) iat: u64,
}

impl Calling<'_> {
    /// The invocation, on the authority of a chain, or on none.
    pub(crate) fn invocation(&self, chain: Option<&Chain>) -> Invocation {
        let (sub, prf) = chain.map_or((self.provider, Vec::new()), |c| (*c.subject(), c.ids()));
        RunArgs::invocation(self.action, self.claim, self.provider, sub, prf, self.exp, self.iat)
    }
}

/// The chains this home holds that fit a call, best first, at most [`TRIED`]: those rooted in the provider, then the
/// shortest, then those that hold longest.
///
/// Each comes with the action as it is to be asked for by it: within its limits.
pub(crate) fn fitting(
    home: &Home,
    calling: &Calling<'_>,
    ended: &Ended,
) -> Result<Vec<(Chain, Action)>, StoreError> {
    let me = home.did();
    let (mut fit, mut not) = (Vec::new(), Vec::new());
    for delegations in home.store().chains_to(&me, None, calling.iat, LOOKED_AT)? {
        let proofs: Vec<_> = delegations.into_iter().map(Proof::from).collect();
        let Some(subject) = proofs.first().map(|root| root.iss) else { continue };
        let Ok(chain) = Chain::of(proofs, &subject, &me) else { continue };
        let action = lowered(calling.action, &chain, calling.fixed);
        match unfit(&chain, &Calling { action: &action, ..*calling }, ended) {
            Ok(()) => fit.push((chain, action)),
            // Of another's grants nothing is expected here.
            Err(why) if ended.means(chain.subject(), &calling.provider) => not.push((chain, why)),
            Err(_) => {}
        }
    }
    if let (true, Some((chain, why))) = (fit.is_empty(), not.first()) {
        let grant = chain.ids().last().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(grant, why, "a grant of this provider's is held here and does not fit");
    }
    fit.sort_by_key(|(chain, _)| {
        let elsewhere = !ended.means(chain.subject(), &calling.provider);
        (elsewhere, chain.proofs().len(), std::cmp::Reverse(chain.until().unwrap_or(u64::MAX)))
    });
    fit.truncate(TRIED);
    Ok(fit)
}

/// The action, with limits that a chain gives.
fn lowered(action: &Action, chain: &Chain, fixed: &BTreeSet<&'static str>) -> Action {
    let terms: Vec<_> = chain.proofs().iter().map(|p| Terms::read(&p.pol)).collect();
    let mut action = action.clone();
    Terms::effective(&terms).lower(&mut action.limits, fixed);
    action
}

/// Why a chain does not hold now or does not allow the call, as far as can be told without the provider's counts.
fn unfit(chain: &Chain, calling: &Calling<'_>, ended: &Ended) -> Result<(), String> {
    let revoked = |id: &DelegationId, above: &[Did]| ended.revoked_by(id, above);
    let links: Vec<_> = chain.proofs().iter().map(|p| p.signed().payload()).collect();
    let held = chain
        .covers(&RunArgs::command())
        .and_then(|()| chain.at(calling.iat, CLOCK_SKEW_SECONDS))
        .and_then(|()| chain.standing(&revoked));
    held.map_err(|e| e.to_string())?;
    grant::check_chain(&links).map_err(|e| e.to_string())?;
    if let Some(successor) = chain.proofs().iter().find_map(|p| ended.dropped(p.id(), p)) {
        return Err(format!("{successor} succeeded the key that issued it, and did not keep it"));
    }
    let input = match links.iter().any(|link| grant::sees_input(&link.pol)) {
        true => Some(run::input_of(&calling.function.params, calling.args).map_err(|e| e.to_string())?),
        false => None,
    };
    let first = Use { actions: 1, fuel: calling.action.most_fuel() };
    let args = run::policy_args(&calling.invocation(Some(chain)), input, first, first);
    chain.judge(|_, _| &args, &mut Budget::new(Budget::STEPS)).map_err(|e| e.to_string())
}

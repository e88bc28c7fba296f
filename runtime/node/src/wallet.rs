//! The grants this home holds, and which of them fits a call: nobody has to name one.

use crate::{authority::Ended, home::Home};
use actum_model::{
    Action, Claim, DelegationId, Did, Function, Invocation, grant,
    run::{self, RunArgs, Use},
    ucan::{Budget, Chain, Proof},
};
use actum_store::StoreError;

/// The most chains looked at for one call.
const LOOKED_AT: usize = 256;
/// The most chains tried with one provider.
pub(crate) const TRIED: usize = 4;
/// Seconds by which the provider's clock is taken to differ at most.
const SKEW: u64 = 60;

/// A call, as far as grants have to do with it.
pub(crate) struct Calling<'a> {
    pub(crate) provider: Did,
    pub(crate) action: &'a Action,
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
pub(crate) fn fitting(home: &Home, calling: &Calling<'_>, ended: &Ended) -> Result<Vec<Chain>, StoreError> {
    let me = home.did();
    let mut fit = Vec::new();
    for delegations in home.store().chains_to(&me, None, calling.iat, LOOKED_AT)? {
        let proofs: Vec<_> = delegations.into_iter().map(Proof::from).collect();
        let Some(subject) = proofs.first().map(|root| root.iss) else { continue };
        let Ok(chain) = Chain::of(proofs, &subject, &me) else { continue };
        if fits(&chain, calling, ended) {
            fit.push(chain);
        }
    }
    fit.sort_by_key(|chain| {
        let elsewhere = !ended.means(chain.subject(), &calling.provider);
        (elsewhere, chain.proofs().len(), std::cmp::Reverse(chain.until().unwrap_or(u64::MAX)))
    });
    fit.truncate(TRIED);
    Ok(fit)
}

/// Whether a chain holds now and allows the call, as far as can be told without the provider's counts.
fn fits(chain: &Chain, calling: &Calling<'_>, ended: &Ended) -> bool {
    let revoked = |id: &DelegationId, above: &[Did]| ended.revoked_by(id, above);
    let links: Vec<_> = chain.proofs().iter().map(|p| p.signed().payload()).collect();
    let dropped = chain.proofs().iter().any(|p| ended.dropped(p.id(), p).is_some());
    let holds = chain.covers(&RunArgs::command()).is_ok()
        && chain.at(calling.iat, SKEW).is_ok()
        && chain.standing(&revoked).is_ok()
        && grant::check_chain(&links).is_ok()
        && !dropped;
    if !holds {
        return false;
    }
    let input = match links.iter().any(|link| grant::sees_input(&link.pol)) {
        true => match run::input_of(&calling.function.params, calling.args) {
            Ok(input) => Some(input),
            Err(_) => return false,
        },
        false => None,
    };
    let first = Use { actions: 1, fuel: calling.action.most_fuel() };
    let args = run::policy_args(&calling.invocation(Some(chain)), input, first, first);
    chain.judge(|_, _| &args, &mut Budget::new(Budget::STEPS)).is_ok()
}

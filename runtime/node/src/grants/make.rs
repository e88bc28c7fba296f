//! Making grants: from what a person asked for to a signed delegation.

use super::{Grant, GrantError, Grants};
use crate::{clock, resolve};
use actum_model::{
    Delegation, Did, FunctionName, Granted, Release, RunArgs, Signed, Terms,
    grant::{Capability, Ceilings, InputRule, May, Quota, narrows},
    ucan::{Proof, policy::Step},
};
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;

/// How long a grant holds where nobody said, in seconds: 30 days.
pub const LIFE_SECONDS: u64 = 30 * 86_400;
/// The bytes of a delegation's nonce.
const NONCE_BYTES: usize = 12;

/// When a grant ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// [`LIFE_SECONDS`] after it begins, or with the grant it rests on where that is sooner.
    #[default]
    Usual,
    /// At this second since the Unix epoch.
    At(u64),
    /// So many seconds after it begins.
    After(u64),
    /// Never, or with the grant it rests on.
    Never,
}

/// What a grant is to say.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What may be run; nothing here is anything.
    pub may: Vec<May>,
    /// The author of what is named without one. `None`: of the release of that name in this home.
    pub author: Option<Did>,
    /// Which functions, as people name them; nothing here is any.
    pub functions: Vec<String>,
    /// Conditions on the arguments.
    pub input: Vec<InputRule>,
    /// The most of each action.
    pub limits: Ceilings,
    /// The most of the real world. `None`: what the grant above gives, and nothing at a root.
    pub permissions: Option<BTreeSet<Granted>>,
    /// The most in all.
    pub spent: Quota,
    /// The most within 60 seconds.
    pub minute: Quota,
    /// When it begins, in seconds since the Unix epoch. `None`: now.
    pub from: Option<u64>,
    /// When it ends.
    pub end: End,
}

/// What whoever makes a grant should hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing says what may be run, here or above.
    Anything,
    /// Nobody said how long it holds; in seconds since the Unix epoch.
    UsualEnd(u64),
    /// A condition is on an argument that no function it allows takes, so nothing will satisfy it.
    NoSuchArgument(String),
}

/// A grant that was made, and kept.
#[derive(Clone, Debug)]
pub struct Made {
    /// The grant.
    pub grant: Grant,
    /// What to say of it.
    pub notes: Vec<Note>,
}

impl Grants<'_> {
    /// Lets `to` run things at this home, and keeps the grant.
    pub fn issue(&self, to: Did, asked: Asked) -> Result<Made, GrantError> {
        self.make(None, to, asked)
    }

    /// Hands a grant to this home on to somebody, with less or the same, and keeps it. Refuses to say more in any clause
    /// than the grant gives; nothing is signed then.
    pub fn narrow(&self, above: &Grant, to: Did, asked: Asked) -> Result<Made, GrantError> {
        let held = self.held(above)?;
        self.sound(&held)?;
        self.make(Some(held), to, asked)
    }

    /// A grant as far as it is to this home's key: what was handed on below it is left out, and what was given to a key
    /// that this one succeeded is passed to this one.
    fn held(&self, grant: &Grant) -> Result<Grant, GrantError> {
        let me = self.me();
        if let Some(held) = grant.up_to(|link| link.aud == me) {
            return Ok(held);
        }
        let not_mine = || GrantError::NotToYou { to: grant.last().aud };
        let old = grant.up_to(|link| self.is_me(&link.aud)).ok_or_else(not_mine)?;
        let line = self.home.former().iter().skip_while(|former| former.did != old.last().aud);
        let passed = line.map(|former| Proof::from(former.powerline.clone()));
        let links = old.links().iter().cloned().chain(passed);
        Grant::of(links.collect()).filter(|whole| whole.last().aud == me).ok_or_else(not_mine)
    }

    fn make(&self, above: Option<Grant>, to: Did, asked: Asked) -> Result<Made, GrantError> {
        let me = self.me();
        let issuers = above.iter().flat_map(|g| g.links()).map(|link| link.iss);
        if issuers.chain([me]).any(|did| did == to) {
            return Err(GrantError::HasIt { to });
        }
        let mut notes = Vec::new();
        let until_above = above.iter().flat_map(|g| g.links()).filter_map(|link| link.exp).min();
        let (nbf, exp) = self.times(&asked, until_above, &mut notes)?;
        let from_above = above.iter().flat_map(|g| g.links()).filter_map(|link| link.nbf).max();
        let inherits = above
            .as_ref()
            .is_some_and(|g| g.payloads().iter().any(|d| Terms::read(&d.pol).capability.is_some()));
        if asked.may.is_empty() && !inherits {
            notes.push(Note::Anything);
        }
        let said = self.terms(asked, above.is_none(), &mut notes)?;
        let pol = said.policy()?;
        let mut delegation = Delegation {
            iss: me,
            aud: to,
            sub: above.as_ref().map_or(Some(me), Grant::subject),
            cmd: RunArgs::command(),
            pol,
            nonce: ByteBuf::from(clock::random::<NONCE_BYTES>()),
            meta: None,
            nbf,
            exp,
        };
        if let Some(above) = &above {
            self.within(&delegation, above)?;
            // A delegation names no other that it rests on: it goes with whatever its issuer has of the subject. So it says
            // itself all that this one may not exceed.
            let terms = above.payloads().into_iter().map(|link| Terms::read(&link.pol)).chain([said]);
            delegation.pol = Terms::effective(&terms.collect::<Vec<_>>()).policy()?;
            delegation.exp = exp.or(until_above);
            delegation.nbf = nbf.max(from_above);
            self.within(&delegation, above)?;
        }
        let signed = Signed::try_sign(delegation, self.home.key()?).map_err(GrantError::Sign)?;
        let links = above.into_iter().flat_map(|g| g.links).chain([Proof::from(signed)]);
        let grant = Grant::of(links.collect()).ok_or(GrantError::Empty)?;
        // What others would refuse is refused here: too many links, above all.
        grant.chain().map_err(super::Flaw::Chain)?;
        self.put(&grant)?;
        Ok(Made { grant, notes })
    }

    /// Refuses what would say more than the chain above it, together or in any of its delegations.
    fn within(&self, child: &Delegation, above: &Grant) -> Result<(), GrantError> {
        above.payloads().iter().try_for_each(|link| narrows(child, link)).map_err(GrantError::Widening)?;
        let whole: Vec<_> = above.payloads().into_iter().chain([child]).collect();
        actum_model::grant::check_chain(&whole).map_err(|e| GrantError::Widening(e.widening))
    }

    fn times(
        &self,
        asked: &Asked,
        until_above: Option<u64>,
        notes: &mut Vec<Note>,
    ) -> Result<(Option<u64>, Option<u64>), GrantError> {
        let begins = asked.from.unwrap_or(self.now).max(self.now);
        let exp = match asked.end {
            End::At(at) => Some(at),
            End::After(seconds) => Some(begins.saturating_add(seconds)),
            End::Never => None,
            End::Usual => {
                let usual = begins.saturating_add(LIFE_SECONDS);
                let until = until_above.map_or(usual, |above| above.min(usual));
                notes.push(Note::UsualEnd(until));
                Some(until)
            }
        };
        if exp.is_some_and(|exp| exp <= self.now) {
            return Err(GrantError::Times("it would have ended already".to_owned()));
        }
        if exp.is_some_and(|exp| exp <= begins) {
            return Err(GrantError::Times("it would end before it begins".to_owned()));
        }
        Ok((asked.from, exp))
    }

    fn terms(&self, asked: Asked, root: bool, notes: &mut Vec<Note>) -> Result<Terms, GrantError> {
        let mut releases = Vec::new();
        let mut capability = BTreeSet::new();
        for may in asked.may {
            let (one, release) = self.capability(may, asked.author)?;
            capability.insert(one);
            releases.push(release);
        }
        let known: Vec<&Signed<Release>> = releases.iter().flatten().collect();
        let functions = asked.functions.iter().map(|text| functions_of(text, &known));
        let functions: Vec<_> = functions.collect::<Result<_, _>>()?;
        let functions: BTreeSet<FunctionName> = functions.into_iter().flatten().collect();
        // Where every capability's release is here, its parameters are known too.
        if !releases.is_empty() && releases.iter().all(Option::is_some) {
            let allowed = known.iter().flat_map(|r| &r.payload().functions);
            let allowed = allowed.filter(|f| functions.is_empty() || functions.contains(&f.name));
            let params: BTreeSet<&str> = allowed.flat_map(|f| &f.params).map(|p| p.name.as_str()).collect();
            let named = asked.input.iter().filter_map(|rule| argument(&rule.0));
            let unknown = named.filter(|name| !params.contains(name.as_str()));
            notes.extend(unknown.collect::<BTreeSet<_>>().into_iter().map(Note::NoSuchArgument));
        }
        let stated = |empty| if empty { None } else { Some(()) };
        Ok(Terms {
            capability: stated(capability.is_empty()).map(|()| capability),
            functions: stated(functions.is_empty()).map(|()| functions),
            input: asked.input.into_iter().map(|rule| rule.0).collect(),
            limits: asked.limits,
            permissions: asked.permissions.or_else(|| root.then(BTreeSet::new)),
            spent: asked.spent,
            minute: asked.minute,
            other: Vec::new(),
        })
    }

    /// What a person means, with the release of it that is here.
    fn capability(
        &self,
        may: May,
        author: Option<Did>,
    ) -> Result<(Capability, Option<Signed<Release>>), GrantError> {
        match may {
            May::Capability(Capability::Named { author, name, version }) => {
                let release = self.release_by(&author, &name, version.as_ref())?;
                Ok((Capability::Named { author, name, version }, release))
            }
            May::Capability(other) => Ok((other, None)),
            May::Named { name, version } => {
                let text = version.as_ref().map_or_else(|| name.to_string(), |v| format!("{name}@{v}"));
                let (author, release) = match author {
                    Some(author) => (author, self.release_by(&author, &name, version.as_ref())?),
                    None => {
                        let found = resolve::find_release(self.home, &text);
                        let release =
                            found.map_err(|e| GrantError::Author { name: text, source: Box::new(e) })?;
                        (release.payload().iss, Some(release))
                    }
                };
                Ok((Capability::Named { author, name, version }, release))
            }
        }
    }

    fn release_by(
        &self,
        author: &Did,
        name: &actum_model::CapabilityName,
        version: Option<&semver::Version>,
    ) -> Result<Option<Signed<Release>>, GrantError> {
        let found = self.home.store().find_release(name, version)?;
        Ok(found.into_iter().find(|release| release.payload().iss == *author))
    }
}

/// The functions that a text means: of the releases known, else by its full name.
fn functions_of(text: &str, known: &[&Signed<Release>]) -> Result<BTreeSet<FunctionName>, GrantError> {
    let mut found = BTreeSet::new();
    let mut failed = None;
    for release in known {
        match release.payload().function(text) {
            Ok(function) => drop(found.insert(function.name.clone())),
            Err(e) => failed = Some(e),
        }
    }
    match (found.is_empty(), failed) {
        (false, _) => Ok(found),
        (true, Some(e)) => Err(e.into()),
        (true, None) => Ok(BTreeSet::from([text.parse::<FunctionName>()?])),
    }
}

/// The argument that a condition is on, where it is on one.
fn argument(statement: &actum_model::ucan::policy::Statement) -> Option<String> {
    use actum_model::ucan::policy::Statement as S;
    let selector = match statement {
        S::Eq(s, _) | S::Ne(s, _) | S::Lt(s, _) | S::Le(s, _) | S::Gt(s, _) | S::Ge(s, _) => s,
        S::Like(s, _) | S::All(s, _) | S::Any(s, _) => s,
        S::And(_) | S::Or(_) | S::Not(_) => return None,
    };
    match &selector.segments().get(1)?.step {
        Step::Field(name) => Some(name.clone()),
        _ => None,
    }
}

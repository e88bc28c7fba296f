//! Ending grants before their time, and telling others.

use super::{Found, Grant, GrantError, Grants};
use crate::{home::Home, keyring::Former, requester::Requester};
use actum_model::{
    Did,
    ucan::{Proof, Revocation},
};
use actum_overlay::Notice;
use actum_store::ledger::{NewRevocation, Standing};
use serde_bytes::ByteBuf;
use std::{sync::Arc, time::Duration};

/// How long telling peers may take in all.
const TELL_DEADLINE: Duration = Duration::from_secs(20);

/// A revocation that was made, and is kept on the disk.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// The chain whose last delegation has ended.
    pub grant: Grant,
    /// Whether it had not been revoked by this home before.
    pub news: bool,
    /// What others should hear.
    pub notice: Notice,
}

/// Who has heard.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The peers that took it, and whether it was news to them.
    pub told: Vec<(Did, bool)>,
    /// Who was not told, and why.
    pub failed: Vec<String>,
}

impl Grants<'_> {
    /// Revokes a delegation: the one that was named, or of a file the last one that this home issued. Only an issuer of it
    /// or of one above it may. It is kept, on the disk, before anybody is told: this home's node heeds it from then on,
    /// and passes it on.
    pub fn revoke(&self, found: &Found) -> Result<Revoked, GrantError> {
        let me = self.me();
        let issued = found.grant.up_to(|link| self.is_me(&link.iss));
        let issued = issued.ok_or_else(|| GrantError::NotYours {
            id: *found.grant.id(),
            may: found.grant.links().iter().map(|link| link.iss).collect(),
        })?;
        let grant = if found.file { issued } else { found.grant.clone() };
        let mine = |issuer: &Did, _: &Did| self.is_me(issuer);
        let signed = Revocation::make_where(grant.links(), Some(self.now), self.home.key()?, mine)?;
        let revocation = signed.bytes().to_vec();
        let witness: Vec<Vec<u8>> = grant.links().iter().map(|link| link.bytes().to_vec()).collect();
        let new = NewRevocation {
            revoked: grant.id(),
            revoker: &me,
            until: grant.last().exp.map(|until| until.saturating_add(self.skew)),
            bytes: &revocation,
            witness: &witness,
        };
        let news = self.home.ledger()?.put_revocation(&new, Standing::Ours, self.now)?;
        let witness = grant.links().iter().map(Proof::bytes).map(ByteBuf::from).collect();
        Ok(Revoked { grant, news, notice: Notice::Revocation { revocation, witness } })
    }
}

/// Tells peers what has ended: those named, then those configured, then those met before, the first eight that there are.
/// Takes at most 20 s. That nobody could be reached is no failure: this home's node tells them when it meets them.
pub async fn tell(home: Arc<Home>, configured: &[String], named: &[String], notice: Notice) -> Told {
    let mut told = Told::default();
    let met = match home.store().peers() {
        Ok(peers) => peers.into_iter().map(|peer| peer.addr).collect(),
        Err(e) => {
            told.failed.push(e.to_string());
            Vec::new()
        }
    };
    let first: Vec<String> = named.iter().chain(configured).cloned().collect();
    let met: Vec<String> = met.into_iter().filter(|addr| !first.contains(addr)).collect();
    if first.is_empty() && met.is_empty() {
        return told;
    }
    // Who this home was comes first: what a former key gave is the present one's to end.
    let rotation = |former: &Former| Notice::Rotation { rotation: former.rotation.bytes().to_vec() };
    let notices: Vec<_> = home.former().iter().map(rotation).chain([notice]).collect();
    let telling = async {
        let requester = Requester::start(home, &met, &first).await.map_err(|e| e.to_string())?;
        let heard = requester.notify(&notices).await;
        let unreached = requester.unreached().to_vec();
        let stopped = requester.stop().await.map_err(|e| e.to_string());
        Ok::<_, String>((heard, unreached, stopped))
    };
    match tokio::time::timeout(TELL_DEADLINE, telling).await {
        Ok(Ok((heard, unreached, stopped))) => {
            told.failed.extend(unreached);
            told.failed.extend(stopped.err());
            for (peer, answer) in heard {
                match answer {
                    Ok(news) => told.told.push((peer, news > 0)),
                    Err(why) => told.failed.push(format!("{peer}: {why}")),
                }
            }
        }
        Ok(Err(why)) => told.failed.push(why),
        Err(_) => told.failed.push(format!("no answer in {} s", TELL_DEADLINE.as_secs())),
    }
    told
}

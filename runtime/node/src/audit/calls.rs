//! The calls that a guest made through its node, below a receipt.

use super::AuditError;
use crate::home::Home;
use actum_model::{Authority, Journal, Receipt, ReceiptId, Signed, codec, permission};
use actum_sandbox::delegated_receipts;

/// A call that a guest made through its node, somewhere below a receipt.
pub struct Call {
    /// How deep below: 1 for a call of the receipt's own action.
    pub depth: u32,
    /// The id of the call's receipt, as the journal names it.
    pub id: String,
    /// The receipt, where this home has it and it says that it is of this call.
    pub receipt: Option<Signed<Receipt>>,
}

/// The most calls that [`calls`] lists.
pub const MAX_CALLS_LISTED: usize = 256;

/// The tree of calls below a receipt, depth first in the order of the calls, as far as this home has it.
pub fn calls(home: &Home, receipt: &Signed<Receipt>, journal: &Journal) -> Result<Vec<Call>, AuditError> {
    let mut listed = Vec::new();
    list_calls(home, receipt, journal, 1, &mut listed)?;
    Ok(listed)
}

fn list_calls(
    home: &Home,
    parent: &Signed<Receipt>,
    journal: &Journal,
    depth: u32,
    listed: &mut Vec<Call>,
) -> Result<(), AuditError> {
    let authority = Authority::Delegated(parent.payload().action.id());
    for id in delegated_receipts(journal) {
        if listed.len() >= MAX_CALLS_LISTED {
            break;
        }
        let found = id.parse().ok().map(|id: ReceiptId| home.store().receipt(&id)).transpose()?.flatten();
        // A journal is its provider's word: it may name what is no call of its guest's.
        let found = found.filter(|r| r.payload().authority == authority);
        listed.push(Call { depth, id, receipt: found.clone() });
        if let Some(child) = found
            && depth < permission::MAX_DELEGATE_DEPTH
            && let Some(bytes) = home.store().get(&child.payload().journal)?
        {
            let journal: Journal = codec::decode(&bytes, Journal::MAX_BYTES)?;
            list_calls(home, &child, &journal, depth.saturating_add(1), listed)?;
        }
    }
    Ok(())
}

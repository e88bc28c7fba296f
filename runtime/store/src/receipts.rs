//! Receipts and the evidence they name.

use crate::{
    ContentId, Store, StoreError,
    blobs::{is_row, put_row},
    content::Shelf,
    db::{column, envelope},
    entries::enter,
};
use actum_model::{
    BlobId, Bodies, DecodeError, Did, Invocation, InvocationId, Journal, Receipt, ReceiptId, Release, Signed,
    Statement, codec,
};
use rusqlite::{OptionalExtension, params};

/// How many ids an ambiguous short id lists.
pub(crate) const LISTED_MATCHES: usize = 8;

/// A receipt to be kept, with the bytes it names.
#[derive(Clone, Copy, Debug)]
pub struct NewReceipt<'a> {
    /// The receipt.
    pub receipt: &'a Signed<Receipt>,
    /// The canonical encoding of the arguments.
    pub args: &'a [u8],
    /// The canonical encoding of the output, exactly when the outcome names one.
    pub output: Option<&'a [u8]>,
    /// The journal's canonical bytes.
    pub journal: &'a [u8],
    /// The bodies, exactly those the journal names.
    pub bodies: &'a Bodies,
    /// The encoded [`actum_model::receipt::Stdio`], exactly when the receipt names one.
    pub stdio: Option<&'a [u8]>,
    /// The signed invocation that it answers, where there was one; at most
    /// [`Invocation::MAX_BYTES`](actum_model::Statement::MAX_BYTES). The delegations that prove it are kept by
    /// [`Store::put_delegations`].
    pub invocation: Option<&'a [u8]>,
}

/// A receipt and everything here that re-executing it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The canonical encoding of the arguments.
    pub args: Vec<u8>,
    /// The canonical encoding of the output, when the outcome names one.
    pub output: Option<Vec<u8>>,
    /// The journal's canonical bytes.
    pub journal: Vec<u8>,
    /// The bodies the journal names.
    pub bodies: Bodies,
    /// The encoded [`actum_model::receipt::Stdio`], when the receipt names one.
    pub stdio: Option<Vec<u8>>,
    /// The signed invocation that it answers, where one was kept with it.
    pub invocation: Option<Vec<u8>>,
    /// The component's binary, when it is in this store.
    pub component: Option<Vec<u8>>,
    /// The release of that component, when it is in this store; as [`Store::release_of_component`].
    pub release: Option<Signed<Release>>,
}

/// A receipt's place in the store, as the index has it and nobody verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedReceipt {
    /// Its id.
    pub id: String,
    /// Its provider's did:key.
    pub provider: String,
    /// Whether there is a verdict on it, whoever's.
    pub judged: bool,
}

type Part<'a> = (&'static str, String, &'a [u8]);

impl<'a> NewReceipt<'a> {
    /// The parts with their ids, each checked to be the one the receipt names.
    fn parts(&self) -> Result<Vec<Part<'a>>, StoreError> {
        let receipt = self.receipt.payload();
        let mut parts = vec![
            part("arguments", &receipt.action.args, self.args)?,
            part("journal", &receipt.journal, self.journal)?,
        ];
        parts.extend(optional("output", receipt.outcome.output(), self.output)?);
        parts.extend(optional("stdio", receipt.stdio.as_ref(), self.stdio)?);
        if let Some(bytes) = self.invocation {
            if bytes.len() > Invocation::MAX_BYTES {
                let (actual, limit) = (bytes.len(), Invocation::MAX_BYTES);
                return Err(StoreError::TooLarge { what: "invocation", actual, limit });
            }
            parts.push(("invocation", InvocationId::of(bytes).to_string(), bytes));
        }
        let named = named_by(self.journal).map_err(|e| StoreError::Mismatch {
            what: "journal",
            wanted: "a journal".to_owned(),
            got: e.to_string(),
        })?;
        for id in &named {
            parts.extend(optional(BODY, Some(id), self.bodies.get(id).map(Vec::as_slice))?);
        }
        // All that are named are there, and none twice: as many bodies are those.
        if self.bodies.len() > named.len()
            && let Some(stranger) = self.bodies.keys().find(|id| !named.contains(id))
        {
            let (wanted, got) = ("nothing".to_owned(), stranger.to_string());
            return Err(StoreError::Mismatch { what: BODY, wanted, got });
        }
        Ok(parts)
    }
}

const BODY: &str = "body of the journal";

/// The ids of the bodies that an encoded journal names.
fn named_by(journal: &[u8]) -> Result<Vec<BlobId>, DecodeError> {
    Ok(codec::decode::<Journal>(journal, Journal::MAX_BYTES)?.bodies())
}

fn part<'a, I: ContentId>(what: &'static str, id: &I, bytes: &'a [u8]) -> Result<Part<'a>, StoreError> {
    if id.names(bytes) {
        Ok((what, id.text(), bytes))
    } else {
        Err(StoreError::Mismatch { what, wanted: id.text(), got: I::of(bytes).text() })
    }
}

fn optional<'a>(
    what: &'static str,
    id: Option<&BlobId>,
    bytes: Option<&'a [u8]>,
) -> Result<Option<Part<'a>>, StoreError> {
    let nothing = || "nothing".to_owned();
    match (id, bytes) {
        (None, None) => Ok(None),
        (Some(id), Some(bytes)) => part(what, id, bytes).map(Some),
        (id, bytes) => Err(StoreError::Mismatch {
            what,
            wanted: id.map_or_else(nothing, BlobId::to_string),
            got: bytes.map_or_else(nothing, |b| BlobId::of(b).to_string()),
        }),
    }
}

impl Store {
    /// Keeps a receipt with its evidence: all of it or nothing, on the disk when this returns.
    ///
    /// Evidence that is not what the receipt names is [`StoreError::Mismatch`]. Keeping it again changes nothing.
    pub fn put_receipt(&self, receipt: NewReceipt<'_>) -> Result<(), StoreError> {
        self.put_receipts(&[receipt])
    }

    /// Keeps several receipts in one transaction, so that they share its sync of the disk: all of them or none.
    pub fn put_receipts(&self, receipts: &[NewReceipt<'_>]) -> Result<(), StoreError> {
        let mut parts = Vec::with_capacity(receipts.len() * 3);
        for new in receipts {
            parts.extend(new.parts()?);
        }
        parts.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        parts.dedup_by(|a, b| a.1 == b.1);
        self.put_files(Shelf::Blobs, &parts)?;
        self.write(|tx| {
            for (_, id, bytes) in parts.iter().filter(|(_, _, b)| is_row(Shelf::Blobs, b)) {
                put_row(tx, id, bytes)?;
            }
            let mut insert = tx.prepare_cached(
                "INSERT OR IGNORE INTO receipts (id, provider, iat, bytes, invocation) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let mut news = Vec::with_capacity(receipts.len());
            for new in receipts {
                let payload = new.receipt.payload();
                let inserted = insert.execute(params![
                    new.receipt.id().to_string(),
                    payload.iss.to_string(),
                    column(payload.iat),
                    new.receipt.bytes(),
                    new.invocation.map(|bytes| InvocationId::of(bytes).to_string())
                ])?;
                news.extend((inserted > 0).then_some(new.receipt));
            }
            enter(tx, news)
        })
    }

    /// Keeps several receipts, together where that works, else each by itself, so that one which cannot be kept does
    /// not take the others with it. Gives those that were not kept, by their place, and why.
    ///
    /// [`StoreError::Busy`] is about all of them: some may be kept, and doing it again with all is right.
    pub fn put_receipts_each(
        &self,
        receipts: &[NewReceipt<'_>],
    ) -> Result<Vec<(usize, StoreError)>, StoreError> {
        match self.put_receipts(receipts) {
            Ok(()) => return Ok(Vec::new()),
            Err(e @ StoreError::Busy { .. }) => return Err(e),
            Err(e) if receipts.len() == 1 => return Ok(vec![(0, e)]),
            Err(_) => {}
        }
        let mut lost = Vec::new();
        for (place, one) in receipts.iter().enumerate() {
            match self.put_receipts(std::slice::from_ref(one)) {
                Ok(()) => {}
                Err(e @ StoreError::Busy { .. }) => return Err(e),
                Err(e) => lost.push((place, e)),
            }
        }
        Ok(lost)
    }

    /// A receipt by its id.
    pub fn receipt(&self, id: &ReceiptId) -> Result<Option<Signed<Receipt>>, StoreError> {
        let id = id.to_string();
        let bytes: Option<Vec<u8>> = self.read(|db| {
            db.prepare_cached("SELECT bytes FROM receipts WHERE id = ?1")?
                .query_row([&id], |row| row.get(0))
                .optional()
        })?;
        bytes.map(|b| envelope("receipt", &id, &b)).transpose()
    }

    /// A receipt with everything here that re-executing it needs, each part verified.
    ///
    /// A part that the receipt names and the store lost is [`StoreError::Corrupt`].
    pub fn evidence(&self, id: &ReceiptId) -> Result<Option<Evidence>, StoreError> {
        let Some(mut evidence) = self.evidence_without_component(id)? else {
            return Ok(None);
        };
        let component = evidence.receipt.payload().action.component;
        evidence.component = self.component(&component)?;
        evidence.release = self.release_of_component(&component)?;
        Ok(Some(evidence))
    }

    /// As [`Self::evidence`], without looking for the component and its release: for who has many receipts of one
    /// component, and reads that once.
    pub fn evidence_without_component(&self, id: &ReceiptId) -> Result<Option<Evidence>, StoreError> {
        let Some(receipt) = self.receipt(id)? else {
            return Ok(None);
        };
        let payload = receipt.payload();
        let output = payload.outcome.output().map(|id| self.need("output", id)).transpose()?;
        let stdio = payload.stdio.map(|id| self.need("stdio", &id)).transpose()?;
        let journal = self.need("journal", &payload.journal)?;
        let invocation = self.invocation_of(id)?.map(|id| self.need("invocation", &id)).transpose()?;
        let bodies = self.bodies_of(payload, &journal)?.into_iter().collect();
        Ok(Some(Evidence {
            args: self.need("arguments", &payload.action.args)?,
            output,
            journal,
            bodies,
            stdio,
            invocation,
            component: None,
            release: None,
            receipt,
        }))
    }

    fn invocation_of(&self, receipt: &ReceiptId) -> Result<Option<InvocationId>, StoreError> {
        let receipt = receipt.to_string();
        let found: Option<Option<String>> = self.read(|db| {
            db.prepare_cached("SELECT invocation FROM receipts WHERE id = ?1")?
                .query_row([&receipt], |row| row.get(0))
                .optional()
        })?;
        let read = |id: String| {
            id.parse().map_err(|e: actum_model::id::IdError| StoreError::Corrupt {
                what: "invocation of",
                id: receipt.clone(),
                why: e.to_string(),
            })
        };
        found.flatten().map(read).transpose()
    }

    /// The bodies that a receipt's journal names, each once, in its order.
    pub(crate) fn bodies_of(
        &self,
        receipt: &Receipt,
        journal: &[u8],
    ) -> Result<Vec<(BlobId, Vec<u8>)>, StoreError> {
        let named = named_by(journal).map_err(|e| StoreError::Corrupt {
            what: "journal",
            id: receipt.journal.to_string(),
            why: e.to_string(),
        })?;
        named.into_iter().map(|id| Ok((id, self.need(BODY, &id)?))).collect()
    }

    pub(crate) fn need<I: ContentId>(&self, what: &'static str, id: &I) -> Result<Vec<u8>, StoreError> {
        self.get(id)?.ok_or_else(|| StoreError::Corrupt {
            what,
            id: id.text(),
            why: "a receipt names it and it is gone".to_owned(),
        })
    }

    /// Receipts, newest first by the time they claim: issued at `since` or later, by `provider` alone when given, at
    /// most `limit`.
    pub fn receipts(
        &self,
        since: Option<u64>,
        limit: usize,
        provider: Option<&Did>,
    ) -> Result<Vec<Signed<Receipt>>, StoreError> {
        let provider = provider.map(Did::to_string);
        let filter = if provider.is_some() { "provider = ?1" } else { "?1 IS NULL" };
        let sql = format!(
            "SELECT id, bytes FROM receipts WHERE {filter} AND iat >= ?2 ORDER BY iat DESC, n DESC LIMIT ?3"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached(&sql)?
                .query_map(params![provider, since.map_or(0, column), limit], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })?;
        rows.iter().map(|(id, bytes)| envelope("receipt", id, bytes)).collect()
    }

    /// Which receipts there are, newest first by the time they claim: issued at `since` or later, by `provider` alone when
    /// given, at most `limit`. Nothing of them is read, so that a damaged one is listed too.
    pub fn listed_receipts(
        &self,
        since: Option<u64>,
        limit: usize,
        provider: Option<&Did>,
    ) -> Result<Vec<ListedReceipt>, StoreError> {
        let provider = provider.map(Did::to_string);
        let filter = if provider.is_some() { "provider = ?1" } else { "?1 IS NULL" };
        let sql = format!(
            "SELECT id, provider, EXISTS(SELECT 1 FROM verdicts WHERE receipt = receipts.id) FROM receipts
             WHERE {filter} AND iat >= ?2 ORDER BY iat DESC, n DESC LIMIT ?3"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|db| {
            db.prepare_cached(&sql)?
                .query_map(params![provider, since.map_or(0, column), limit], |row| {
                    Ok(ListedReceipt { id: row.get(0)?, provider: row.get(1)?, judged: row.get(2)? })
                })?
                .collect()
        })
    }

    /// The receipt whose id begins or ends so, for people who type a short one; `None` when none does.
    ///
    /// [`StoreError::Ambiguous`] lists the ids when several do.
    pub fn receipt_by_part(&self, part: &str) -> Result<Option<Signed<Receipt>>, StoreError> {
        // Ids are lower-case letters and digits, which all sort before `~`; nothing else is looked for.
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Ok(None);
        }
        let end = format!("{part}~");
        let rows: Vec<(String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached(
                "SELECT id, bytes FROM receipts WHERE (id >= ?1 AND id < ?2) OR id LIKE '%' || ?1
                 ORDER BY n DESC LIMIT ?3",
            )?
            .query_map(params![part, end, LISTED_MATCHES as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })?;
        match rows.as_slice() {
            [] => Ok(None),
            [(id, bytes)] => envelope("receipt", id, bytes).map(Some),
            several => Err(StoreError::Ambiguous {
                prefix: part.to_owned(),
                matches: several.iter().map(|(id, _)| id.clone()).collect(),
            }),
        }
    }
}

//! The tape: while recording it writes down each question and its answer, while replaying it gives the answers back and
//! checks that the guest asks the same questions.

use crate::error::Stop;
use crate::host::Host;
use actum_model::journal::{WITHDRAWAL_BYTES, withdrawal};
use actum_model::{BlobId, Bodies, Body, DecodeError, Journal, JournalEntry, Withdrawal, codec};
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use std::sync::Arc;

/// A replay that left the journal: the first question that is not the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strayed {
    /// Which entry, counted from 1.
    pub entry: usize,
    /// The recorded entry; none when the guest asked more than was recorded.
    pub recorded: Option<JournalEntry>,
    /// The function the guest called instead.
    pub function: String,
    /// What it asked instead, encoded as an entry's `asked`.
    pub asked: ByteBuf,
    /// Why the recorded answer is none, where the question is the recorded one.
    pub why: Option<String>,
}

/// Where answers come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The host; they are recorded.
    Live,
    /// A journal and its bodies.
    Recorded {
        entries: std::vec::IntoIter<JournalEntry>,
        bodies: Arc<Bodies>,
        /// Whether the recording ended because the journal was full.
        full: bool,
        /// How the recording says that the authority ended, where it does.
        withdrawn: Option<Withdrawal>,
    },
}

/// One action's tape.
pub(crate) struct Tape {
    source: Source,
    /// Who says, while recording, whether the authority to run has ended.
    host: Arc<dyn Host>,
    limit: u64,
    weight: u64,
    entries: Vec<JournalEntry>,
    bodies: Bodies,
    /// The bodies of the entry being made.
    named: Vec<BlobId>,
    strayed: Option<Strayed>,
    /// What the bodies of the entry being made weigh.
    carried: u64,
    /// A question was not answered: the guest is being ended.
    ended: bool,
    /// Bytes asked, told and made since they were last paid for.
    unpaid: u64,
}

/// What a tape holds at the end.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) journal: Journal,
    pub(crate) bodies: Bodies,
    pub(crate) strayed: Option<Strayed>,
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Tape {
    /// A tape that takes at most `limit` bytes, bodies included.
    pub(crate) fn new(source: Source, limit: u64, host: Arc<dyn Host>) -> Self {
        Self {
            source,
            host,
            limit,
            weight: 0,
            entries: Vec::new(),
            bodies: Bodies::new(),
            named: Vec::new(),
            strayed: None,
            carried: 0,
            ended: false,
            unpaid: 0,
        }
    }

    /// The most bytes the tape takes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes asked, told and made since this was last called.
    pub(crate) fn take_unpaid(&mut self) -> u64 {
        std::mem::take(&mut self.unpaid)
    }

    /// Counts bytes the host made for the guest without asking anybody, to be paid for with the others.
    pub(crate) fn owe(&mut self, bytes: usize) {
        self.unpaid = self.unpaid.saturating_add(count(bytes));
    }

    /// Bytes as a question or an answer holds them; many are kept beside the journal.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Body {
        let body = Body::of(bytes);
        if let Body::Id(id) = &body {
            self.named.push(*id);
            self.carried = self.carried.saturating_add(count(bytes.len()));
            // What there is no room for is not held: the entry will be refused.
            if self.weight.saturating_add(self.carried) <= self.limit {
                self.bodies.entry(*id).or_insert_with(|| bytes.to_vec());
            }
        }
        body
    }

    /// The bytes of a body of the last answer. A journal whose answer names what is not among its bodies, or holds itself
    /// what belongs beside it, is left here.
    pub(crate) fn open(&mut self, body: &Body) -> wasmtime::Result<Vec<u8>> {
        let found = body.open(&self.bodies).or_else(|| match &self.source {
            Source::Recorded { bodies, .. } => body.open(bodies),
            Source::Live => None,
        });
        let listed = match body {
            Body::Bytes(bytes) => bytes.len() <= Body::MAX_INLINE,
            Body::Id(id) => self.entries.last().is_some_and(|entry| entry.bodies.contains(id)),
        };
        let apart = matches!(body, Body::Id(_));
        match found {
            Some(bytes) if listed && apart == (bytes.len() > Body::MAX_INLINE) => Ok(bytes.to_vec()),
            _ => Err(self.refuse("it names a body that is not among its own".to_owned())),
        }
    }

    /// Whether a question was not answered, because the authority ended, the journal is full, the guest strayed or nobody
    /// waits any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Asks: the answer of `answer`, recorded, or the recorded one.
    ///
    /// `answer` decides about authority too: a denial is an answer. What follows from the action alone, a caller checks
    /// again on the answer: a journal cannot say otherwise ([`Self::refuse`]). A question that finds no room in the
    /// journal has no effect, nor has one asked after the authority to run has ended: that is recorded where its answer
    /// would stand, and ends the guest. An `answer` that waits may find so later, and then fails with
    /// [`Stop::Withdrawn`] before it has kept anything.
    pub(crate) fn ask<Q, A>(
        &mut self,
        function: &str,
        question: &Q,
        answer: impl FnOnce(&mut Self) -> wasmtime::Result<A>,
    ) -> wasmtime::Result<A>
    where
        Q: Serialize + ?Sized,
        A: Serialize + DeserializeOwned,
    {
        self.ask_within(u64::MAX, function, question, answer)
    }

    /// As [`Self::ask`], for an answer that is at most so many bytes encoded: a recording that ended because the journal
    /// was full cannot have ended here, unless so much was no longer free.
    pub(crate) fn ask_within<Q, A>(
        &mut self,
        most: u64,
        function: &str,
        question: &Q,
        answer: impl FnOnce(&mut Self) -> wasmtime::Result<A>,
    ) -> wasmtime::Result<A>
    where
        Q: Serialize + ?Sized,
        A: Serialize + DeserializeOwned,
    {
        let answered = self.try_ask(most, function, codec::encode(question), answer);
        self.ended |= answered.is_err();
        answered
    }

    fn try_ask<A: Serialize + DeserializeOwned>(
        &mut self,
        most: u64,
        function: &str,
        asked: Vec<u8>,
        answer: impl FnOnce(&mut Self) -> wasmtime::Result<A>,
    ) -> wasmtime::Result<A> {
        let names = self.named.len().saturating_mul(JournalEntry::ID_WEIGHT);
        let question = count(function.len() + asked.len() + JournalEntry::HEADS + names);
        let weight = self.weight.saturating_add(question).saturating_add(self.carried);
        if weight > self.limit {
            return Err(Stop::Journal.into());
        }
        let recorded = match &mut self.source {
            Source::Live => None,
            Source::Recorded { entries, full, .. } => {
                let entry = entries.next();
                // What ended the recording may have been a decision instead of an answer.
                let most = most.max(count(WITHDRAWAL_BYTES));
                if entry.is_none() && *full && weight.saturating_add(most) > self.limit {
                    return Err(Stop::Journal.into());
                }
                Some(entry)
            }
        };
        match recorded {
            None => {
                let answered = match self.host.withdrawn() {
                    Some(why) => Err(Stop::Withdrawn(why).into()),
                    None => answer(self),
                };
                let told_bytes = match &answered {
                    Ok(told) => codec::encode(told),
                    Err(error) => match error.downcast_ref() {
                        Some(Stop::Withdrawn(why)) => withdrawal(*why),
                        _ => return answered,
                    },
                };
                let bodies = std::mem::take(&mut self.named);
                let entry = JournalEntry {
                    function: function.to_owned(),
                    asked: ByteBuf::from(asked),
                    told: ByteBuf::from(told_bytes),
                    bodies,
                };
                let carried = std::mem::take(&mut self.carried);
                self.take(entry, carried)?;
                answered
            }
            Some(entry) => {
                self.carried = 0;
                let named = std::mem::take(&mut self.named);
                self.play(function, asked, &named, entry)
            }
        }
    }

    /// The entry made last.
    pub(crate) fn last(&self) -> Option<&JournalEntry> {
        self.entries.last()
    }

    /// Refuses the answer given last, as one that was never given: whoever asked can tell a true one.
    pub(crate) fn refuse(&mut self, why: String) -> wasmtime::Error {
        self.ended = true;
        let recorded = self.entries.last().cloned();
        let (function, asked) =
            recorded.as_ref().map(|e| (e.function.clone(), e.asked.clone())).unwrap_or_default();
        self.strayed = Some(Strayed { entry: self.entries.len(), recorded, function, asked, why: Some(why) });
        Stop::Strayed.into()
    }

    fn play<A: Serialize + DeserializeOwned>(
        &mut self,
        function: &str,
        asked: Vec<u8>,
        named: &[BlobId],
        entry: Option<JournalEntry>,
    ) -> wasmtime::Result<A> {
        let same = entry.as_ref().filter(|e| e.function == function && e.asked == asked);
        let told = same.map(|e| {
            // What is listed weighs and costs: it is what question and answer name, no less and no more.
            if !e.lists(named) {
                return Err(DecodeError::Invalid("its bodies are not those it names".to_owned()));
            }
            match e.withdrawn() {
                Some(why) => self.honours(why).map(|()| Err(Stop::Withdrawn(why).into())),
                None => codec::decode::<A>(&e.told, Journal::MAX_BYTES).map(Ok),
            }
        });
        match (told, entry) {
            (Some(Ok(told)), Some(entry)) => {
                let length = |id| match &self.source {
                    Source::Recorded { bodies, .. } => bodies.get(id).map(Vec::len),
                    Source::Live => None,
                };
                let carried = entry.bodies.iter().filter_map(length).map(count).sum();
                self.take(entry, carried)?;
                told
            }
            (told, recorded) => {
                let why = told.and_then(Result::err).map(|e| e.to_string());
                self.strayed = Some(Strayed {
                    entry: self.entries.len() + 1,
                    recorded,
                    function: function.to_owned(),
                    asked: ByteBuf::from(asked),
                    why,
                });
                Err(Stop::Strayed.into())
            }
        }
    }

    /// Whether a decision may stand in the entry being played: the recording must have ended by it.
    fn honours(&self, why: Withdrawal) -> Result<(), DecodeError> {
        let no = |why: &str| Err(DecodeError::Invalid(why.to_owned()));
        match &self.source {
            Source::Recorded { entries, .. } if !entries.as_slice().is_empty() => {
                no("the authority ended here, and entries follow")
            }
            Source::Recorded { withdrawn, .. } if *withdrawn != Some(why) => {
                no("the authority ended here, and the outcome says otherwise")
            }
            _ => Ok(()),
        }
    }

    /// Takes an entry, if there is room for it and its bodies, which are so many bytes.
    fn take(&mut self, entry: JournalEntry, carried: u64) -> wasmtime::Result<()> {
        let weight = self.weight.saturating_add(entry.weight()).saturating_add(carried);
        if weight > self.limit {
            return Err(Stop::Journal.into());
        }
        self.weight = weight;
        let bytes = count(entry.asked.len()).saturating_add(count(entry.told.len())).saturating_add(carried);
        self.unpaid = self.unpaid.saturating_add(bytes);
        self.entries.push(entry);
        Ok(())
    }

    /// Ends the tape.
    pub(crate) fn finish(&mut self) -> Recording {
        let entries = std::mem::take(&mut self.entries);
        let journal = Journal { entries };
        let named: std::collections::BTreeSet<_> = journal.bodies().into_iter().collect();
        let mut bodies = std::mem::take(&mut self.bodies);
        // What was kept for an entry that was never made belongs to nothing.
        bodies.retain(|id, _| named.contains(id));
        Recording { journal, bodies, strayed: self.strayed.take() }
    }
}

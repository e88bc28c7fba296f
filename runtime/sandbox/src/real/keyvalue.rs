//! `wasi:keyvalue`: buckets of the provider's, one for each name granted, private to requester and capability.

use super::bindings::wasi::keyvalue::{atomics, batch, store};
use super::{Real, RealView};
use crate::host::{KeyvalueAsk, KeyvalueTold};
use actum_model::{Body, Granted, permission};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use wasmtime::component::Resource;

/// Asks for a value and is told only whether there is one.
const EXISTS: &str = "wasi:keyvalue/store#bucket.exists";
/// The most bytes of a key.
const MAX_KEY_BYTES: usize = 256;
/// The most bytes of a value: 1 MiB.
const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most keys in one batch.
const MAX_BATCH: usize = 1_000;

/// These bounds, as the profile has them.
pub(crate) fn rules() -> String {
    format!("{MAX_KEY_BYTES} bytes a key, {MAX_VALUE_BYTES} a value, {MAX_BATCH} keys a batch")
}

/// An open bucket.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct Bucket {
    /// The grant it was opened by.
    granted: permission::Keyvalue,
}

/// A question, with large values by id.
#[derive(Serialize)]
enum Question<'a> {
    Open,
    Get(&'a [String]),
    Set(Vec<(&'a str, Body)>),
    Delete(&'a [String]),
    List(Option<u64>),
    Increment(&'a str, u64),
}

/// An answer, with large values by id.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Values(Vec<Option<Body>>),
    Exists(bool),
    Done,
    Keys(Vec<String>, Option<u64>),
    Number(u64),
}

/// Why there is none.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Refusal {
    NoSuchStore,
    AccessDenied,
    Other(String),
}

impl From<Refusal> for store::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchStore => Self::NoSuchStore,
            Refusal::AccessDenied => Self::AccessDenied,
            Refusal::Other(why) => Self::Other(why),
        }
    }
}

type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

fn misfit<T>() -> Answer<T> {
    Ok(Err(store::Error::Other("the host answered another question".to_owned())))
}

impl Real {
    fn bucket(&self, name: &str) -> Option<&permission::Keyvalue> {
        self.granted.iter().find_map(|granted| match granted {
            Granted::Keyvalue(keyvalue) if keyvalue.bucket == name => Some(keyvalue),
            _ => None,
        })
    }
}

/// Refuses what no bucket holds, before it is asked for.
fn check(ask: &KeyvalueAsk) -> Result<(), String> {
    let key = |key: &String| {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(format!("key-size: a key has 1 to {MAX_KEY_BYTES} bytes"));
        }
        Ok(())
    };
    let many = |count: usize| {
        if count > MAX_BATCH {
            Err(format!("batch-too-large: a batch has at most {MAX_BATCH} keys"))
        } else {
            Ok(())
        }
    };
    match ask {
        KeyvalueAsk::Get(keys) | KeyvalueAsk::Delete(keys) => {
            many(keys.len())?;
            keys.iter().try_for_each(key)
        }
        KeyvalueAsk::Set(pairs) => {
            many(pairs.len())?;
            if pairs.iter().any(|(_, value)| value.len() > MAX_VALUE_BYTES) {
                return Err(format!("value-too-large: a value has at most {MAX_VALUE_BYTES} bytes"));
            }
            pairs.iter().map(|(k, _)| k).try_for_each(key)
        }
        KeyvalueAsk::Increment(k, _) => key(k),
        KeyvalueAsk::List { .. } => Ok(()),
    }
}

/// Whether a grant covers a question: every key it names, and writing where it writes.
fn covers(granted: &permission::Keyvalue, ask: &KeyvalueAsk) -> bool {
    match ask {
        KeyvalueAsk::Get(keys) => keys.iter().all(|key| granted.covers(key)),
        KeyvalueAsk::List { .. } => true,
        KeyvalueAsk::Set(pairs) => granted.write && pairs.iter().all(|(key, _)| granted.covers(key)),
        KeyvalueAsk::Delete(keys) => granted.write && keys.iter().all(|key| granted.covers(key)),
        KeyvalueAsk::Increment(key, _) => granted.write && granted.covers(key),
    }
}

impl RealView<'_> {
    /// Asks a bucket: authority, then the bounds, then the effect.
    fn ask_bucket(
        &mut self,
        function: &str,
        bucket: &Resource<Bucket>,
        ask: KeyvalueAsk,
    ) -> wasmtime::Result<Result<Told, Refusal>> {
        let Bucket { granted } = self.table.get(bucket)?;
        let name = &granted.bucket;
        // What no bucket holds follows from the question: there is nothing to journal.
        if let Err(why) = check(&ask) {
            return Ok(Err(Refusal::Other(why)));
        }
        let host = self.real.host.clone();
        let tape = &mut self.real.tape;
        let question = match &ask {
            KeyvalueAsk::Get(keys) => Question::Get(keys),
            KeyvalueAsk::Set(pairs) => {
                Question::Set(pairs.iter().map(|(k, v)| (k.as_str(), tape.keep(v))).collect())
            }
            KeyvalueAsk::Delete(keys) => Question::Delete(keys),
            // The prefix follows from the action.
            KeyvalueAsk::List { cursor, .. } => Question::List(*cursor),
            KeyvalueAsk::Increment(key, delta) => Question::Increment(key, *delta),
        };
        let denied = !covers(granted, &ask);
        let told = tape.ask(function, &(name, question), |tape| {
            if denied {
                return Ok(Err(Refusal::AccessDenied));
            }
            let told = host.keyvalue(name, ask.clone());
            Ok(told.map_err(Refusal::Other).map(|told| match told {
                KeyvalueTold::Values(values) if function == EXISTS => {
                    Told::Exists(values.iter().any(Option::is_some))
                }
                KeyvalueTold::Values(values) => {
                    Told::Values(values.iter().map(|v| v.as_ref().map(|v| tape.keep(v))).collect())
                }
                KeyvalueTold::Done => Told::Done,
                KeyvalueTold::Keys(mut keys, next) => {
                    keys.retain(|key| granted.covers(key));
                    Told::Keys(keys, next)
                }
                KeyvalueTold::Number(number) => Told::Number(number),
            }))
        })?;
        // Decided by the action alone: a journal cannot say otherwise.
        let outside = matches!(&told, Ok(Told::Keys(keys, _)) if !keys.iter().all(|key| granted.covers(key)));
        if outside || denied != matches!(told, Err(Refusal::AccessDenied)) {
            return Err(self.real.tape.refuse("the action grants otherwise".to_owned()));
        }
        Ok(told)
    }

    fn lookup(
        &mut self,
        function: &str,
        bucket: &Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<Vec<u8>>>> {
        let count = keys.len();
        match self.ask_bucket(function, bucket, KeyvalueAsk::Get(keys))? {
            Ok(Told::Values(values)) if values.len() == count => {
                let tape = &mut self.real.tape;
                let open = |v: &Option<Body>| v.as_ref().map(|v| tape.open(v)).transpose();
                Ok(Ok(values.iter().map(open).collect::<wasmtime::Result<_>>()?))
            }
            Ok(_) => misfit(),
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    fn change(&mut self, function: &str, bucket: &Resource<Bucket>, ask: KeyvalueAsk) -> Answer<()> {
        match self.ask_bucket(function, bucket, ask)? {
            Ok(Told::Done) => Ok(Ok(())),
            Ok(_) => misfit(),
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }
}

impl store::Host for RealView<'_> {
    fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        let found = self.real.bucket(&identifier).cloned();
        // A name nobody granted is a denial, and one that need not say whether there is such a bucket.
        let granted = found.as_ref().map(|k| k.write);
        let opened: Result<bool, Refusal> = self.real.tape.ask_within(
            32,
            "wasi:keyvalue/store#open",
            &(&identifier, Question::Open),
            |_| Ok(granted.ok_or(Refusal::AccessDenied)),
        )?;
        // What the action grants is known without the journal: it cannot say otherwise.
        if opened.as_ref().ok().copied() != granted {
            return Err(self.real.tape.refuse("the action grants otherwise".to_owned()));
        }
        Ok(match (opened, found) {
            (Ok(_), Some(granted)) => Ok(self.table.push(Bucket { granted })?),
            (Ok(_), None) => Err(store::Error::AccessDenied),
            (Err(refusal), _) => Err(refusal.into()),
        })
    }
}

impl store::HostBucket for RealView<'_> {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let values = self.lookup("wasi:keyvalue/store#bucket.get", &bucket, vec![key])?;
        Ok(values.map(|mut values| values.pop().flatten()))
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let ask = KeyvalueAsk::Set(vec![(key, ByteBuf::from(value))]);
        self.change("wasi:keyvalue/store#bucket.set", &bucket, ask)
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        self.change("wasi:keyvalue/store#bucket.delete", &bucket, KeyvalueAsk::Delete(vec![key]))
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        match self.ask_bucket(EXISTS, &bucket, KeyvalueAsk::Get(vec![key]))? {
            Ok(Told::Exists(exists)) => Ok(Ok(exists)),
            Ok(_) => misfit(),
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Answer<store::KeyResponse> {
        let prefix = self.table.get(&bucket)?.granted.keys.clone();
        let ask = KeyvalueAsk::List { prefix, cursor };
        match self.ask_bucket("wasi:keyvalue/store#bucket.list-keys", &bucket, ask)? {
            Ok(Told::Keys(keys, cursor)) => Ok(Ok(store::KeyResponse { keys, cursor })),
            Ok(_) => misfit(),
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for RealView<'_> {
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        let ask = KeyvalueAsk::Increment(key, delta);
        match self.ask_bucket("wasi:keyvalue/atomics#increment", &bucket, ask)? {
            Ok(Told::Number(number)) => Ok(Ok(number)),
            Ok(_) => misfit(),
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }
}

impl batch::Host for RealView<'_> {
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let values = self.lookup("wasi:keyvalue/batch#get-many", &bucket, keys.clone())?;
        Ok(values.map(|values| keys.into_iter().zip(values).map(|(k, v)| v.map(|v| (k, v))).collect()))
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let pairs = pairs.into_iter().map(|(k, v)| (k, ByteBuf::from(v))).collect();
        self.change("wasi:keyvalue/batch#set-many", &bucket, KeyvalueAsk::Set(pairs))
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        self.change("wasi:keyvalue/batch#delete-many", &bucket, KeyvalueAsk::Delete(keys))
    }
}

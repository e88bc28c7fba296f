//! Keeps notes in a bucket of the provider's, by `wasi:keyvalue`.
#![cfg(target_os = "wasi")]

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated: the component model's calling convention is raw memory"
)]
mod bindings {
    use super::Notes;

    actum_guest::wit_bindgen::generate!({
        path: ["../../../wit/host/deps/keyvalue.wit", "wit"],
        world: "test:notes/guest",
        runtime_path: "actum_guest::wit_bindgen::rt",
        generate_all,
    });

    export!(Notes with_types_in self);
}

use bindings::exports::test::notes::notes::Guest;
use bindings::wasi::keyvalue::{
    atomics, batch,
    store::{self, Bucket, Error},
};
use std::fmt::Debug;

struct Notes;

fn open(bucket: &str) -> Result<Bucket, String> {
    store::open(bucket).map_err(say)
}

fn say(error: Error) -> String {
    match error {
        Error::NoSuchStore => "no such store".to_owned(),
        Error::AccessDenied => "access denied".to_owned(),
        Error::Other(why) => why,
    }
}

fn step<T: Debug>(name: &str, told: Result<T, Error>) -> String {
    match told {
        Ok(told) => format!("{name}: {told:?}"),
        Err(error) => format!("{name}: {}", say(error)),
    }
}

impl Guest for Notes {
    fn get(bucket: String, key: String) -> Result<Option<Vec<u8>>, String> {
        open(&bucket)?.get(&key).map_err(say)
    }

    fn set(bucket: String, key: String, value: Vec<u8>) -> Result<(), String> {
        open(&bucket)?.set(&key, &value).map_err(say)
    }

    fn remove(bucket: String, key: String) -> Result<(), String> {
        open(&bucket)?.delete(&key).map_err(say)
    }

    fn exists(bucket: String, key: String) -> Result<bool, String> {
        open(&bucket)?.exists(&key).map_err(say)
    }

    fn increment(bucket: String, key: String, delta: u64) -> Result<u64, String> {
        atomics::increment(&open(&bucket)?, &key, delta).map_err(say)
    }

    fn list(bucket: String) -> Result<Vec<String>, String> {
        let bucket = open(&bucket)?;
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = bucket.list_keys(cursor).map_err(say)?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(keys);
            }
        }
    }

    fn batch(bucket: String, pairs: Vec<(String, Vec<u8>)>) -> Result<Vec<Option<Vec<u8>>>, String> {
        let bucket = open(&bucket)?;
        batch::set_many(&bucket, &pairs).map_err(say)?;
        let keys: Vec<String> = pairs.into_iter().map(|(key, _)| key).collect();
        let told = batch::get_many(&bucket, &keys).map_err(say)?;
        Ok(told.into_iter().map(|pair| pair.map(|(_, value)| value)).collect())
    }

    fn tour(name: String, value: Vec<u8>) -> Vec<String> {
        let bucket = match store::open(&name) {
            Ok(bucket) => bucket,
            Err(error) => return vec![format!("open: {}", say(error))],
        };
        let size = |told: Option<Vec<u8>>| told.map(|value| value.len());
        vec![
            step("set", bucket.set("note", &value)),
            step("get", bucket.get("note").map(size)),
            step("exists", bucket.exists("note")),
            step("increment", atomics::increment(&bucket, "count", 1)),
            step("list", bucket.list_keys(None).map(|page| page.keys)),
            step("delete", bucket.delete("note")),
            step("get", bucket.get("note").map(size)),
        ]
    }
}

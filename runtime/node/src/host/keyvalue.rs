//! `wasi:keyvalue`: the store's buckets, each private to the action's requester, its capability and its name.

use super::NodeHost;
use actum_sandbox::host::{KeyvalueAsk, KeyvalueTold};
use actum_store::{Bucket, KeyvalueError};

impl NodeHost {
    pub(super) fn bucket(&self, name: &str, ask: KeyvalueAsk) -> Result<KeyvalueTold, String> {
        let bucket = Bucket { requester: &self.action.requester, capability: &self.capability, name };
        let told = match ask {
            KeyvalueAsk::Get(keys) => self.store.bucket_get(&bucket, &keys).map(KeyvalueTold::Values),
            KeyvalueAsk::Set(pairs) => self.store.bucket_set(&bucket, &pairs).map(|()| KeyvalueTold::Done),
            KeyvalueAsk::Delete(keys) => {
                self.store.bucket_delete(&bucket, &keys).map(|()| KeyvalueTold::Done)
            }
            KeyvalueAsk::List { prefix, cursor } => {
                let prefix = prefix.unwrap_or_default();
                let page = self.store.bucket_keys(&bucket, &prefix, cursor.unwrap_or(0));
                page.map(|(keys, next)| KeyvalueTold::Keys(keys, next))
            }
            KeyvalueAsk::Increment(key, delta) => {
                self.store.bucket_increment(&bucket, &key, delta).map(KeyvalueTold::Number)
            }
        };
        told.map_err(|error| {
            // Its text is for the guest, and stands in the journal: a path of this machine does not.
            if let KeyvalueError::Store(cause) = &error {
                tracing::error!(error = %cause, "a bucket could not be used");
            }
            error.to_string()
        })
    }
}

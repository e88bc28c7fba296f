//! Everything signed or stored: payloads, envelopes, journals, bundles.

use actum_model::bundle::Bundle;
use actum_model::receipt::Stdio;
use actum_model::{
    Descriptor, EnvelopeError, Journal, Lease, Page, Profile, Query, Receipt, Release, SecretKey, Signed,
    Statement, Verdict, WitType, codec,
};
use serde::{Serialize, de::DeserializeOwned};

/// What decodes encodes to the same bytes.
fn plain<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<T> {
    let value: T = codec::decode(data, data.len()).ok()?;
    assert_eq!(codec::encode(&value), data, "decoded, encoded");
    Some(value)
}

/// The same as an envelope, and as the payload of one. A payload is signed with some key, which is seldom its issuer's.
fn signed<T: Statement + Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(statement) = Signed::<T>::verify(data) {
        assert_eq!(statement.bytes(), data);
    }
    let Some(payload) = plain::<T>(data) else { return };
    let Ok(statement) = Signed::try_sign(payload, &SecretKey::from_seed(&[1; 32])) else { return };
    match Signed::<T>::verify(statement.bytes()) {
        Ok(_) | Err(EnvelopeError::BadSignature { .. }) => {}
        Err(error) => panic!("signed, and refused: {error}"),
    }
}

/// Any bytes, as each of them.
pub(crate) fn decode(data: &[u8]) {
    plain::<Journal>(data);
    plain::<Stdio>(data);
    plain::<Profile>(data);
    plain::<WitType>(data);
    signed::<Receipt>(data);
    signed::<Release>(data);
    signed::<Descriptor>(data);
    signed::<Lease>(data);
    signed::<Query>(data);
    signed::<Page>(data);
    signed::<Verdict>(data);
    if let Ok(bundle) = Bundle::from_bytes(data) {
        assert_eq!(bundle.to_bytes(), data, "a bundle read, written");
    }
}

//! Everything signed or stored: payloads, envelopes, journals, bundles.

use actum_model::bundle::Bundle;
use actum_model::receipt::Stdio;
use actum_model::ucan::{Args, Budget, Policy, container};
use actum_model::{
    Attestation, Delegation, Descriptor, EnvelopeError, FraudProof, Invocation, Journal, Lease, Page,
    Profile, Query, Receipt, Release, Rotation, SecretKey, Signed, Statement, Verdict, WitType, codec,
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

/// A policy, and arguments to judge by it: within its budget, and the same the other way round for its opposite.
fn judged(data: &[u8]) {
    use actum_model::ucan::{Unmet, policy::Statement};
    let Some((policy, args)) = plain::<(Policy, Args)>(data) else { return };
    policy.bounds().unwrap();
    let opposite = Policy::new(vec![Statement::negate(Statement::and(policy.statements.clone()))]);
    let judge = |policy: &Policy| policy.check(&args, &mut Budget::default());
    match (judge(&policy), judge(&opposite)) {
        (Err(Unmet::Budget { .. }), _) | (_, Err(Unmet::Budget { .. })) => {}
        (one, other) => assert_ne!(one.is_ok(), other.is_ok(), "{policy}"),
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
    signed::<Delegation>(data);
    signed::<Invocation>(data);
    signed::<Rotation>(data);
    judged(data);
    if let Ok(tokens) = container::read(data) {
        let again = container::write(&tokens, container::Form::Base64).unwrap();
        assert_eq!(container::read(&again).unwrap().len(), tokens.len(), "a container read, written");
        let _ = container::read_chain(data);
    }
    if let Ok(attestation) = Attestation::read(data) {
        assert_eq!(attestation.bytes(), data, "an attestation read, written");
    }
    if let Ok(bundle) = Bundle::from_bytes(data) {
        assert_eq!(bundle.to_bytes(), data, "a bundle read, written");
    }
    if let Ok(proof) = FraudProof::from_bytes(data) {
        assert_eq!(proof.to_bytes(true), data, "a fraud proof read, written");
    }
}

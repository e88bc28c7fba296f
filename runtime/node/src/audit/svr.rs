//! Verdicts in the form that supply-chain tools read: an in-toto Statement with a Simple Verification Result, in a DSSE
//! envelope.
//!
//! Sources: DSSE 1.0.0, protocol and envelope (secure-systems-lab/dsse); in-toto Attestation Framework, Statement v1 and
//! the predicate `svr` v0.1 (in-toto/attestation, spec/predicates/svr.md). A consumer of these ignores fields that it does
//! not know, and so does [`verify`].
//!
//! The predicate lists the properties that were verified and *hold*, and nothing else, so that whoever asks for
//! [`REPLAY_IDENTICAL`] never takes a lie for a pass. What the verdict says beside, a divergence among it, is in an
//! extension of ours, [`EXTENSION`].

use actum_model::{Did, Judgement, SecretKey, Signed, Verdict};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The payload's type, which the signature covers.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The type of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/svr/v0.1";
/// The property that a receipt is validly signed by its provider. Every verdict is about such a one.
pub const RECEIPT_SIGNED: &str = "ACTUM_RECEIPT_SIGNED";
/// The property that running the receipt's action again did the same: outcome, output, fuel, memory, journal and stdio.
pub const REPLAY_IDENTICAL: &str = "ACTUM_REPLAY_IDENTICAL";
/// The name of the extension in the predicate that has the verdict itself.
pub const EXTENSION: &str = "urn:actum:verdict:1";
/// The largest envelope that is read, in bytes: 128 KiB. A verdict has at most 16 KiB, twice escaped and encoded.
pub const MAX_BYTES: usize = 128 << 10;
/// The most signatures that an envelope may have. Ours has one; each costs who verifies some 50 µs.
pub const MAX_SIGNATURES: usize = 16;

/// Why an envelope was not made, or is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SvrError {
    /// The key is not that of the verdict's verifier.
    #[error("the verdict is by {verifier}, the key is of {key}")]
    OtherKey {
        /// Who gave the verdict.
        verifier: Did,
        /// Whose key it is.
        key: Did,
    },
    /// The verdict's time is none that a calendar has.
    #[error("second {0} is no time")]
    Time(u64),
    /// More bytes than [`MAX_BYTES`]; nothing was read.
    #[error("the envelope has {actual} bytes where at most {MAX_BYTES} are allowed")]
    TooLarge {
        /// Bytes received.
        actual: usize,
    },
    /// It is not the JSON that it should be, or could not be written as such.
    #[error("the {what} is not what it should be")]
    Json {
        /// Which part: `envelope` or `statement`.
        what: &'static str,
        /// What the reader says.
        source: serde_json::Error,
    },
    /// A field that should be base64 is not.
    #[error("the {what} is not base64")]
    Base64 {
        /// Which field.
        what: &'static str,
    },
    /// It is of another type.
    #[error("the {what} is {found:?}, not {wanted:?}")]
    OtherType {
        /// The type of what.
        what: &'static str,
        /// The type that is read here.
        wanted: &'static str,
        /// The type found, its first 100 characters.
        found: String,
    },
    /// The verifier is not named by a did:key, so nobody knows whose signature to look for.
    #[error("the verifier is not a did:key")]
    Verifier(#[source] actum_model::key::KeyError),
    /// No signature in it is the verifier's over this statement.
    #[error("none of its {count} signatures is that of {verifier}")]
    Signature {
        /// Who is said to have verified.
        verifier: Did,
        /// How many signatures there are.
        count: usize,
    },
    /// It has more signatures than [`MAX_SIGNATURES`].
    #[error("it has {0} signatures where at most {MAX_SIGNATURES} are allowed")]
    Signatures(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    /// A hint, and not signed: nothing is decided by it.
    #[serde(default)]
    keyid: String,
    sig: String,
}

#[derive(Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Predicate {
    verifier: Verifier,
    #[serde(rename = "timeCreated")]
    time_created: String,
    properties: Vec<String>,
    #[serde(rename = "urn:actum:verdict:1", default, skip_serializing_if = "Option::is_none")]
    said: Option<Said>,
}

#[derive(Serialize, Deserialize)]
struct Verifier {
    id: String,
}

/// What the statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its name: of ours, the receipt's id.
    pub name: String,
    /// Its digests by algorithm, in lower-case hexadecimal: of ours, the receipt's `sha256`.
    pub digest: BTreeMap<String, String>,
}

/// What the verdict says beside its properties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The verdict's id.
    pub verdict: String,
    /// Whose receipt it is.
    pub provider: String,
    /// The profile that the verifier ran.
    pub profile: String,
    /// The judgement, as programs know it everywhere else.
    pub judgement: Judgement,
}

/// An envelope that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who verified, and signed.
    pub verifier: Did,
    /// When, as it says: RFC 3339.
    pub time: String,
    /// What was verified.
    pub subjects: Vec<Subject>,
    /// The properties that hold.
    pub properties: Vec<String>,
    /// The verdict, where it is one of ours.
    pub said: Option<Said>,
}

/// What a signature covers: DSSE's pre-authentication encoding.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// A verdict as a signed Simple Verification Result, in JSON. `key` is the verifier's.
pub fn svr(verdict: &Signed<Verdict>, key: &SecretKey) -> Result<String, SvrError> {
    let said = verdict.payload();
    if key.did() != said.iss {
        return Err(SvrError::OtherKey { verifier: said.iss, key: key.did() });
    }
    let time = i64::try_from(said.iat).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let holds: &[&str] = match said.judgement {
        Judgement::Identical => &[RECEIPT_SIGNED, REPLAY_IDENTICAL],
        Judgement::Diverged(_) | Judgement::NotReplayable(_) => &[RECEIPT_SIGNED],
    };
    let statement = Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: vec![Subject {
            name: said.receipt.to_string(),
            digest: BTreeMap::from([("sha256".to_owned(), HEXLOWER.encode(said.receipt.digest()))]),
        }],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: Predicate {
            verifier: Verifier { id: said.iss.to_string() },
            time_created: time.ok_or(SvrError::Time(said.iat))?.to_string(),
            properties: holds.iter().map(|&property| property.to_owned()).collect(),
            said: Some(Said {
                verdict: verdict.id().to_string(),
                provider: said.provider.to_string(),
                profile: said.profile.to_string(),
                judgement: said.judgement.clone(),
            }),
        },
    };
    let payload =
        serde_json::to_vec(&statement).map_err(|source| SvrError::Json { what: "statement", source })?;
    let signature = key.sign(&pae(PAYLOAD_TYPE, &payload));
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: BASE64.encode(&payload),
        signatures: vec![Signature { keyid: said.iss.to_string(), sig: BASE64.encode(&signature) }],
    };
    serde_json::to_string(&envelope).map_err(|source| SvrError::Json { what: "envelope", source })
}

/// Reads an envelope that [`svr`] or another verifier wrote, and checks that the verifier whom it names signed it. Whether
/// that verifier is to be believed is the caller's to know.
pub fn verify(json: &[u8]) -> Result<Verified, SvrError> {
    if json.len() > MAX_BYTES {
        return Err(SvrError::TooLarge { actual: json.len() });
    }
    let envelope: Envelope =
        serde_json::from_slice(json).map_err(|source| SvrError::Json { what: "envelope", source })?;
    is_type("payload type", PAYLOAD_TYPE, &envelope.payload_type)?;
    let count = envelope.signatures.len();
    if count > MAX_SIGNATURES {
        return Err(SvrError::Signatures(count));
    }
    let payload = from_base64("payload", &envelope.payload)?;
    // Read before it is believed, because only the statement says whose signature it wants: the envelope's own hint is
    // not signed.
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|source| SvrError::Json { what: "statement", source })?;
    is_type("statement's type", STATEMENT_TYPE, &statement.kind)?;
    is_type("predicate's type", PREDICATE_TYPE, &statement.predicate_type)?;
    let Predicate { verifier, time_created, properties, said } = statement.predicate;
    let verifier: Did = verifier.id.parse().map_err(SvrError::Verifier)?;
    let signed = pae(PAYLOAD_TYPE, &payload);
    let is_by_them = |signature: &Signature| {
        from_base64("signature", &signature.sig).is_ok_and(|bytes| verifier.verify(&signed, &bytes).is_ok())
    };
    if !envelope.signatures.iter().any(is_by_them) {
        return Err(SvrError::Signature { verifier, count });
    }
    Ok(Verified { verifier, time: time_created, subjects: statement.subject, properties, said })
}

fn is_type(what: &'static str, wanted: &'static str, found: &str) -> Result<(), SvrError> {
    if found == wanted {
        return Ok(());
    }
    Err(SvrError::OtherType { what, wanted, found: found.chars().take(100).collect() })
}

/// Either alphabet, padded or not: a verifier must take both.
fn from_base64(what: &'static str, text: &str) -> Result<Vec<u8>, SvrError> {
    let decoded = [BASE64, BASE64URL, BASE64_NOPAD, BASE64URL_NOPAD]
        .iter()
        .find_map(|alphabet| alphabet.decode(text.as_bytes()).ok());
    decoded.ok_or(SvrError::Base64 { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::{Divergence, ProfileId, ReceiptId};

    /// The example of the DSSE protocol, section "Test Vectors".
    #[test]
    fn what_is_signed_is_encoded_as_the_specification_has_it() {
        let encoded = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
        // Lengths are in bytes.
        assert_eq!(pae("ä", "€".as_bytes()), "DSSEv1 2 ä 3 €".as_bytes());
    }

    fn verdict(judgement: Judgement) -> (Signed<Verdict>, SecretKey) {
        let key = SecretKey::from_seed(&[1; 32]);
        let verdict = Verdict {
            iss: key.did(),
            iat: 1_795_802_400,
            receipt: ReceiptId::of(b"receipt"),
            provider: SecretKey::from_seed(&[2; 32]).did(),
            profile: ProfileId::of(b"profile"),
            judgement,
        };
        (Signed::sign(verdict, &key), key)
    }

    fn diverged() -> Judgement {
        let text = |text: &str| text.to_owned();
        Judgement::Diverged(Divergence { at: text("fuel"), receipt: text("8"), replay: text("<\"7\u{1b}") })
    }

    #[test]
    fn a_verdict_goes_there_and_back() {
        let (verdict, key) = verdict(Judgement::Identical);
        let json = svr(&verdict, &key).unwrap();
        let envelope: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
        assert_eq!(envelope["signatures"][0]["keyid"], key.did().to_string());
        let payload = BASE64.decode(envelope["payload"].as_str().unwrap().as_bytes()).unwrap();
        let statement: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let receipt = verdict.payload().receipt;
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://in-toto.io/attestation/svr/v0.1");
        assert_eq!(statement["subject"][0]["name"], receipt.to_string());
        // `printf receipt | sha256sum`
        let digest = HEXLOWER.encode(&actum_model::id::sha256(b"receipt"));
        assert_eq!(statement["subject"][0]["digest"]["sha256"], digest);
        assert_eq!(statement["predicate"]["verifier"]["id"], key.did().to_string());
        assert_eq!(statement["predicate"]["timeCreated"], "2026-11-27T18:00:00Z");
        assert!(statement["predicate"][EXTENSION].is_object());

        let verified = verify(json.as_bytes()).unwrap();
        assert_eq!(verified.verifier, key.did());
        assert_eq!(verified.properties, [RECEIPT_SIGNED, REPLAY_IDENTICAL]);
        assert_eq!(verified.said.unwrap().judgement, Judgement::Identical);
    }

    #[test]
    fn only_what_holds_is_a_property() {
        for judgement in [diverged(), Judgement::NotReplayable("why".to_owned())] {
            let (verdict, key) = verdict(judgement.clone());
            let verified = verify(svr(&verdict, &key).unwrap().as_bytes()).unwrap();
            assert_eq!(verified.properties, [RECEIPT_SIGNED]);
            assert_eq!(verified.said.unwrap().judgement, judgement);
        }
    }

    #[test]
    fn the_longest_verdict_fits() {
        let long = "\u{1}".repeat(actum_trust::MAX_REASON_BYTES);
        let (verdict, key) = verdict(Judgement::Diverged(Divergence {
            at: "output".to_owned(),
            receipt: long.clone(),
            replay: long,
        }));
        assert!(verify(svr(&verdict, &key).unwrap().as_bytes()).is_ok());
    }

    /// The parts of an envelope, to be changed and put together again.
    fn changed(
        change: impl Fn(&mut serde_json::Value, &mut serde_json::Value),
    ) -> Result<Verified, SvrError> {
        let (verdict, key) = verdict(diverged());
        let mut envelope: serde_json::Value = serde_json::from_str(&svr(&verdict, &key).unwrap()).unwrap();
        let payload = BASE64.decode(envelope["payload"].as_str().unwrap().as_bytes()).unwrap();
        let mut statement: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        change(&mut envelope, &mut statement);
        let payload = BASE64.encode(&serde_json::to_vec(&statement).unwrap());
        if envelope["payload"].is_string() {
            envelope["payload"] = payload.into();
        }
        verify(&serde_json::to_vec(&envelope).unwrap())
    }

    #[test]
    fn what_was_changed_is_refused() {
        assert!(changed(|_, _| {}).is_ok());
        let added = changed(|_, s| s["predicate"]["properties"] = serde_json::json!([REPLAY_IDENTICAL]));
        assert!(matches!(added, Err(SvrError::Signature { count: 1, .. })));
        let other = SecretKey::from_seed(&[9; 32]).did().to_string();
        let stolen = changed(|_, s| s["predicate"]["verifier"]["id"] = other.as_str().into());
        assert!(matches!(stolen, Err(SvrError::Signature { .. })));
        // The hint decides nothing, and may be wrong or absent.
        assert!(changed(|e, _| e["signatures"][0]["keyid"] = "nonsense".into()).is_ok());
        let typed = changed(|e, _| e["payloadType"] = "application/json".into());
        assert!(matches!(typed, Err(SvrError::OtherType { what: "payload type", .. })));
        let predicate =
            changed(|_, s| s["predicateType"] = "https://slsa.dev/verification_summary/v1".into());
        assert!(matches!(predicate, Err(SvrError::OtherType { .. })));
        let unsigned = changed(|e, _| e["signatures"] = serde_json::json!([]));
        assert!(matches!(unsigned, Err(SvrError::Signature { count: 0, .. })));
        let many = changed(|e, _| {
            let one = e["signatures"][0].clone();
            e["signatures"] = vec![one; MAX_SIGNATURES + 1].into();
        });
        assert!(matches!(many, Err(SvrError::Signatures(_))));
        let web = changed(|_, s| s["predicate"]["verifier"]["id"] = "https://example.com/verifier".into());
        assert!(matches!(web, Err(SvrError::Verifier(_))));
        assert!(matches!(verify(b"{}"), Err(SvrError::Json { what: "envelope", .. })));
        assert!(matches!(verify(&vec![b' '; MAX_BYTES + 1]), Err(SvrError::TooLarge { .. })));
    }

    #[test]
    fn both_alphabets_of_base64_are_taken() {
        let (verdict, key) = verdict(diverged());
        let mut envelope: serde_json::Value = serde_json::from_str(&svr(&verdict, &key).unwrap()).unwrap();
        for field in ["/payload", "/signatures/0/sig"] {
            let place = envelope.pointer_mut(field).unwrap();
            let bytes = BASE64.decode(place.as_str().unwrap().as_bytes()).unwrap();
            *place = BASE64URL_NOPAD.encode(&bytes).into();
        }
        assert!(verify(&serde_json::to_vec(&envelope).unwrap()).is_ok());
    }

    #[test]
    fn nobody_signs_anothers_verdict() {
        let (verdict, _) = verdict(Judgement::Identical);
        let other = SecretKey::from_seed(&[3; 32]);
        assert!(matches!(svr(&verdict, &other), Err(SvrError::OtherKey { .. })));
    }
}

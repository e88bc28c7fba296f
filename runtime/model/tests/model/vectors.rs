//! The published test vectors of the formats we follow: DAG-CBOR, Ed25519, UCAN.

use actum_model::{
    Did, codec,
    envelope::VARSIG_ED25519_DAG_CBOR,
    id::{DAG_CBOR, cid_of},
};
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER};
use ipld_core::ipld::Ipld;
use serde_json::Value as Json;
use std::path::PathBuf;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");

/// A folder of vectors, or none, loudly, in a clone that stands alone.
fn folder(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(FOLDER).join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: no {name} vectors at {FOLDER}");
    None
}

fn json(path: PathBuf) -> Json {
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

#[test]
fn dag_cbor_fixtures_re_encode_to_the_same_bytes_and_cid() {
    let Some(folder) = folder("dag-cbor") else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "dag-cbor") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let value: Ipld = codec::decode(&bytes, 1 << 20).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(codec::encode(&value), bytes, "{name}");
        assert_eq!(cid_of(DAG_CBOR, &bytes).to_string(), name);
        seen += 1;
    }
    assert!(seen > 100, "only {seen} fixtures");
}

#[test]
fn dag_cbor_negative_fixtures_are_refused() {
    let Some(folder) = folder("dag-cbor") else { return };
    let items = json(folder.join("negative-duplicate-keys.json"));
    let items = items.as_array().unwrap();
    assert!(!items.is_empty());
    for item in items {
        let bytes = HEXLOWER.decode(item["hex"].as_str().unwrap().as_bytes()).unwrap();
        assert!(codec::decode::<Ipld>(&bytes, 1 << 20).is_err(), "{item}");
    }
}

#[test]
fn ed25519_wycheproof() {
    let Some(folder) = folder("ed25519") else { return };
    let file = json(folder.join("wycheproof_ed25519_test.json"));
    let hex = |v: &Json| HEXLOWER.decode(v.as_str().unwrap().as_bytes()).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let key: [u8; 32] = hex(&group["publicKey"]["pk"]).try_into().unwrap();
        for test in group["tests"].as_array().unwrap() {
            let verdict =
                Did::from_bytes(key).and_then(|did| did.verify(&hex(&test["msg"]), &hex(&test["sig"])));
            match test["result"].as_str().unwrap() {
                "valid" => {
                    valid += 1;
                    assert!(verdict.is_ok(), "refused: {test}");
                }
                "invalid" => {
                    invalid += 1;
                    assert!(verdict.is_err(), "accepted: {test}");
                }
                other => panic!("a result of another kind: {other}"),
            }
        }
    }
    assert_eq!(valid + invalid, file["numberOfTests"].as_u64().unwrap());
    assert!(valid > 50 && invalid > 50, "{valid} valid, {invalid} invalid");
}

/// Our envelope's shape is UCAN's: the same header, and a signature over the second element as it stands.
fn check_ucan(token: &[u8], tag: &str) {
    let envelope: Ipld = codec::decode(token, 1 << 20).unwrap();
    let Ipld::List(parts) = envelope else { panic!("not a list") };
    let [Ipld::Bytes(signature), signed] = parts.as_slice() else { panic!("not a signature and a map") };
    let Ipld::Map(map) = signed else { panic!("not a map") };
    assert_eq!(map.len(), 2);
    assert_eq!(map["h"], Ipld::Bytes(VARSIG_ED25519_DAG_CBOR.to_vec()));
    let Ipld::Map(payload) = &map[tag] else { panic!("no {tag}") };
    let Ipld::String(iss) = &payload["iss"] else { panic!("no iss") };
    let iss: Did = iss.parse().unwrap();
    let (head, rest) = token.split_at(3);
    assert_eq!(head, [0x82, 0x58, 0x40]);
    assert_eq!(&rest[..64], signature.as_slice());
    assert_eq!(&rest[64..], codec::encode(signed));
    iss.verify(&rest[64..], signature).unwrap();
}

#[test]
fn ucan_delegations_have_the_shape_of_our_envelope() {
    let Some(folder) = folder("ucan") else { return };
    let file = json(folder.join("delegation.json"));
    let valid = file["valid"].as_array().unwrap();
    assert!(!valid.is_empty());
    for item in valid {
        let token = BASE64.decode(item["token"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(cid_of(DAG_CBOR, &token).to_string(), item["cid"].as_str().unwrap());
        check_ucan(&token, "ucan/dlg@1.0.0");
    }
}

#[test]
fn ucan_invocations_have_the_shape_of_our_envelope() {
    let Some(folder) = folder("ucan") else { return };
    let file = json(folder.join("invocation.json"));
    let bytes = |v: &Json| BASE64_NOPAD.decode(v["/"]["bytes"].as_str().unwrap().as_bytes()).unwrap();
    let valid = file["valid"].as_array().unwrap();
    assert!(!valid.is_empty());
    for item in valid {
        check_ucan(&bytes(&item["invocation"]), "ucan/inv@1.0.0");
        for proof in item["proofs"].as_array().unwrap() {
            check_ucan(&bytes(proof), "ucan/dlg@1.0.0");
        }
    }
}

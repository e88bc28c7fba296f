//! The published test vectors of the formats we follow: DAG-CBOR, Ed25519, UCAN.

use actum_model::{
    Delegation, DelegationId, Did, Invocation, SecretKey, Signed, codec,
    envelope::VARSIG_ED25519_DAG_CBOR,
    id::{DAG_CBOR, cid_of},
    ucan::{Args, Budget, Chain, ChainError, Policy, Proof, Unmet, chain::Link, validate},
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

fn base64(v: &Json) -> Vec<u8> {
    BASE64.decode(v.as_str().unwrap().as_bytes()).unwrap()
}

/// Bytes as DAG-JSON has them.
fn dag_bytes(v: &Json) -> Vec<u8> {
    BASE64_NOPAD.decode(v["/"]["bytes"].as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn ucan_delegations_are_read_and_signed_to_the_same_bytes() {
    let Some(folder) = folder("ucan") else { return };
    let file = json(folder.join("delegation.json"));
    let principals = file["principals"].as_object().unwrap().values().map(|key| {
        let bytes = base64(key);
        SecretKey::from_seed(bytes.strip_prefix(&[0x80, 0x26]).unwrap().try_into().unwrap())
    });
    let principals: Vec<SecretKey> = principals.collect();
    let valid = file["valid"].as_array().unwrap();
    assert!(!valid.is_empty());
    for item in valid {
        let token = base64(&item["token"]);
        check_ucan(&token, "ucan/dlg@1.0.0");
        let signed = Signed::<Delegation>::verify(&token).unwrap();
        assert_eq!(signed.bytes(), token);
        assert_eq!(signed.id().to_string(), item["cid"].as_str().unwrap());
        let (is, said) = (signed.payload(), &item["envelope"]["payload"]);
        assert_eq!(is.iss.to_string(), said["iss"].as_str().unwrap());
        assert_eq!(is.aud.to_string(), said["aud"].as_str().unwrap());
        assert_eq!(is.sub.unwrap().to_string(), said["sub"].as_str().unwrap());
        assert_eq!(is.cmd.as_str(), said["cmd"].as_str().unwrap());
        assert_eq!(Json::from(is.pol.statements.len()), said["pol"].as_array().unwrap().len());
        assert_eq!(is.exp, said["exp"].as_u64());
        assert_eq!(is.nonce.as_slice(), base64(&said["nonce"]));
        assert_eq!((is.nbf, &is.meta), (None, &None));
        assert_eq!(said.as_object().unwrap().len(), 7);
        assert_eq!(token[3..67], base64(&item["envelope"]["signature"]));
        let key = principals.iter().find(|key| key.did() == is.iss).unwrap();
        assert_eq!(Signed::sign(is.clone(), key).bytes(), token);
    }
}

/// An invocation with its proofs, all from bytes.
fn prove(item: &Json, now: u64) -> Result<Chain, ChainError> {
    let invocation = Signed::<Invocation>::verify(&dag_bytes(&item["invocation"]))
        .map_err(|source| ChainError::Token { link: Link(None), source })?;
    let proofs: Vec<Vec<u8>> = item["proofs"].as_array().unwrap().iter().map(dag_bytes).collect();
    let find = |id: &DelegationId| proofs.iter().find(|p| id.names(p)).map(|p| Proof::read(p));
    validate(&invocation, find, now, 0, &mut Budget::default())
}

#[test]
fn ucan_invocations_are_proved() {
    let Some(folder) = folder("ucan") else { return };
    let file = json(folder.join("invocation.json"));
    let valid = file["valid"].as_array().unwrap();
    assert_eq!(valid.len(), 7);
    for item in valid {
        check_ucan(&dag_bytes(&item["invocation"]), "ucan/inv@1.0.0");
        item["proofs"].as_array().unwrap().iter().for_each(|p| check_ucan(&dag_bytes(p), "ucan/dlg@1.0.0"));
        let chain = prove(item, item["time"].as_u64().unwrap());
        let chain = chain.unwrap_or_else(|e| panic!("{}: {e}", item["name"]));
        assert_eq!(chain.proofs().len(), item["proofs"].as_array().unwrap().len());
    }
}

#[test]
fn ucan_invocations_that_prove_nothing_are_refused_by_the_name_of_the_error() {
    let Some(folder) = folder("ucan") else { return };
    let file = json(folder.join("invocation.json"));
    let invalid = file["invalid"].as_array().unwrap();
    assert_eq!(invalid.len(), 13);
    for item in invalid {
        match prove(item, item["time"].as_u64().unwrap()) {
            Err(error) => {
                assert_eq!(error.name(), item["error"]["name"].as_str().unwrap(), "{}: {error}", item["name"])
            }
            Ok(_) => panic!("{} was accepted", item["name"]),
        }
    }
}

fn ipld(value: &Json) -> Ipld {
    match value {
        Json::Null => Ipld::Null,
        Json::Bool(b) => Ipld::Bool(*b),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| Ipld::Float(n.as_f64().unwrap()), |n| Ipld::Integer(n.into()))
        }
        Json::String(text) => Ipld::String(text.clone()),
        Json::Array(list) => Ipld::List(list.iter().map(ipld).collect()),
        Json::Object(map) => Ipld::Map(map.iter().map(|(k, v)| (k.clone(), ipld(v))).collect()),
    }
}

/// Each policy of a file's part, with its arguments, through the codec.
fn policies(file: &Json, part: &str) -> Vec<(Policy, Args)> {
    let mut all = Vec::new();
    for item in file[part].as_array().unwrap() {
        let args: Args =
            item["args"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), ipld(v))).collect();
        for policy in item["policies"].as_array().unwrap() {
            let bytes = codec::encode(&ipld(policy));
            let read: Policy = codec::decode(&bytes, bytes.len()).unwrap_or_else(|e| panic!("{policy}: {e}"));
            let written: Vec<Ipld> = read.clone().into();
            assert_eq!(Ipld::List(written), ipld(policy));
            all.push((read, args.clone()));
        }
    }
    all
}

#[test]
fn ucan_policies_hold_or_do_not() {
    let Some(folder) = folder("ucan") else { return };
    let text = std::fs::read_to_string(folder.join("policy.json")).unwrap();
    // As published, one map is wrapped in a map without a key.
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|l| *l == r#""newsletters": {"#).unwrap();
    let end = at + lines[at..].iter().position(|l| l.starts_with(r#""policies""#)).unwrap();
    assert_eq!((lines[at + 1], &lines[end - 4..end]), ("{", ["}", "}", "}", "},"].as_slice()));
    let mended = [&lines[..=at], &lines[at + 2..end - 2], &lines[end - 1..]].concat().join("\n");
    let file: Json = serde_json::from_str(&mended).unwrap();
    let (valid, invalid) = (policies(&file, "valid"), policies(&file, "invalid"));
    assert_eq!((valid.len(), invalid.len()), (17, 8));
    for (policy, args) in valid {
        policy.check(&args, &mut Budget::default()).unwrap_or_else(|e| panic!("{policy}: {e}"));
    }
    for (policy, args) in invalid {
        let checked = policy.check(&args, &mut Budget::default());
        assert!(matches!(checked, Err(Unmet::Statement { .. })), "{policy}: {checked:?}");
    }
}

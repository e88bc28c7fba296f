//! Every signed statement is read strictly. Each refusal here is validly signed, so the signature is not what refuses.

use crate::samples::{self, author, provider, requester};
use actum_model::{
    Action, Authority, DecodeError, Delegation, DelegationId, Descriptor, EnvelopeError, Filters, Granted,
    Invocation, Journal, JournalEntry, Lease, Outcome, Page, Permission, Profile, Query, Receipt, Region,
    Release, Rotation, SecretKey, Signed, Statement, Tier, Tombstone, Verdict, Withdrawal, codec,
    descriptor::Lately,
    envelope::VARSIG_ED25519_DAG_CBOR,
    journal,
    permission::{MAX_CONFIG_BYTES, MAX_GRANTED},
    release::{CHUNK_BYTES, chunk_digests, manifest, read_manifest},
    ucan::MAX_CHAIN,
};
use ipld_core::ipld::Ipld;
use std::collections::{BTreeMap, BTreeSet};

const TAGS: [&str; 9] = [
    Release::TAG,
    Descriptor::TAG,
    Lease::TAG,
    Receipt::TAG,
    Verdict::TAG,
    Query::TAG,
    Page::TAG,
    Rotation::TAG,
    Tombstone::TAG,
];

/// The entries of a value's map, encoded one by one, in canonical order.
fn entries<T: serde::Serialize>(value: &T) -> Vec<(String, Vec<u8>)> {
    let map: BTreeMap<String, Ipld> = serde_ipld_dagcbor::from_slice(&codec::encode(value)).unwrap();
    let mut entries: Vec<_> = map
        .into_iter()
        .map(|(k, v)| {
            let bytes = [codec::encode(&k), codec::encode(&v)].concat();
            (k, bytes)
        })
        .collect();
    entries.sort_by_key(|(k, _)| (k.len(), k.clone()));
    entries
}

fn map_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    assert!(entries.len() < 24);
    let mut bytes = vec![0xa0 | u8::try_from(entries.len()).unwrap()];
    entries.iter().for_each(|(_, e)| bytes.extend_from_slice(e));
    bytes
}

/// An envelope around any payload, with a signature that verifies.
fn envelope(key: &SecretKey, header: &[u8], tag: &str, payload: &[u8]) -> Vec<u8> {
    let header = codec::encode(&Ipld::Bytes(header.to_vec()));
    let signed = [&[0xa2, 0x61, b'h'], &header[..], &codec::encode(tag), payload].concat();
    [&[0x82, 0x58, 0x40], &key.sign(&signed)[..], &signed].concat()
}

/// What every statement refuses; `optional` names the fields that may be absent.
fn strict<T: Statement + std::fmt::Debug>(payload: &T, key: &SecretKey, optional: &[&str]) {
    strict_but(payload, key, optional, &[]);
}

/// The same, where `nullable` fields, which must be there, may be null.
fn strict_but<T: Statement + std::fmt::Debug>(
    payload: &T,
    key: &SecretKey,
    optional: &[&str],
    nullable: &[&str],
) {
    let good = entries(payload);
    let with =
        |payload: &[u8]| Signed::<T>::verify(&envelope(key, &VARSIG_ED25519_DAG_CBOR, T::TAG, payload));
    let malformed = |what: &str, payload: &[u8]| match with(payload) {
        Err(EnvelopeError::Decode {
            source: DecodeError::Malformed(_) | DecodeError::NotCanonical, ..
        }) => {}
        other => panic!("{}, {what}: {other:?}", T::TAG),
    };
    let signed = Signed::sign(payload.clone(), key);
    assert_eq!(with(&map_of(&good)).unwrap().bytes(), signed.bytes());

    let unknown = ("zzzzzzzzzzzzzzzzzzzzzzzz".to_owned(), codec::encode(&("zzzzzzzzzzzzzzzzzzzzzzzz", 1)));
    let unknown = (unknown.0, unknown.1[1..].to_vec());
    malformed("unknown field", &map_of(&[good.clone(), vec![unknown]].concat()));
    for (i, (name, bytes)) in good.iter().enumerate() {
        let mut fewer = good.clone();
        fewer.remove(i);
        if !optional.contains(&name.as_str()) {
            malformed(&format!("without {name}"), &map_of(&fewer));
        }
        let mut twice = good.clone();
        twice.insert(i, (name.clone(), bytes.clone()));
        malformed(&format!("{name} twice"), &map_of(&twice));
        let null = [codec::encode(name), vec![0xf6]].concat();
        let mut nulled = good.clone();
        nulled[i] = (name.clone(), null);
        if nullable.contains(&name.as_str()) {
            with(&map_of(&nulled)).unwrap();
            continue;
        }
        malformed(&format!("{name} null"), &map_of(&nulled));
    }
    for i in 1..good.len() {
        let mut swapped = good.clone();
        swapped.swap(i - 1, i);
        malformed("unsorted keys", &map_of(&swapped));
    }
    let plain = map_of(&good);
    malformed("trailing byte", &[&plain[..], &[0xf6]].concat());
    malformed("a longer map head", &[&[0xb8, plain[0] & 0x1f], &plain[1..]].concat());
    malformed("an indefinite map", &[&[0xbf], &plain[1..], &[0xff]].concat());
    malformed("an array", &[0x80]);
    malformed("nothing", &[]);

    let bytes = signed.bytes();
    for end in 0..bytes.len() {
        assert!(Signed::<T>::verify(&bytes[..end]).is_err(), "{} cut to {end} bytes", T::TAG);
    }
    assert!(Signed::<T>::verify(&[bytes, &[0]].concat()).is_err());
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[i] ^= 1 << bit;
            assert!(Signed::<T>::verify(&flipped).is_err(), "{} with bit {bit} of byte {i} flipped", T::TAG);
        }
    }

    let next = T::TAG.replace("@1", "@2");
    for tag in TAGS.into_iter().chain([next.as_str()]).filter(|t| *t != T::TAG) {
        match Signed::<T>::verify(&envelope(key, &VARSIG_ED25519_DAG_CBOR, tag, &plain)) {
            Err(EnvelopeError::WrongTag { wanted, found }) => {
                assert_eq!((wanted, found.as_str()), (T::TAG, tag))
            }
            other => panic!("{} as {tag}: {other:?}", T::TAG),
        }
    }
    let other_header = [0x34, 0x01, 0xed, 0x01, 0xed, 0x01, 0x12, 0x71];
    match Signed::<T>::verify(&envelope(key, &other_header, T::TAG, &plain)) {
        Err(EnvelopeError::UnknownHeader) => {}
        other => panic!("{} with another header: {other:?}", T::TAG),
    }
    let stranger = SecretKey::from_seed(&[77; 32]);
    match Signed::<T>::verify(&envelope(&stranger, &VARSIG_ED25519_DAG_CBOR, T::TAG, &plain)) {
        Err(EnvelopeError::BadSignature { issuer }) => assert_eq!(issuer, payload.issuer()),
        other => panic!("{} signed by a stranger: {other:?}", T::TAG),
    }
    match Signed::<T>::verify(&vec![0x82; T::MAX_BYTES + 1]) {
        Err(EnvelopeError::Decode { source: DecodeError::TooLarge { limit, .. }, .. }) => {
            assert_eq!(limit, T::MAX_BYTES);
        }
        other => panic!("{} too large: {other:?}", T::TAG),
    }
}

#[test]
fn release_is_strict() {
    strict(&samples::release(), &author(), &[]);
}
#[test]
fn descriptor_is_strict() {
    strict(&samples::descriptor(), &provider(), &["price", "region", "verdicts"]);
}
#[test]
fn lease_is_strict() {
    strict(&samples::lease(), &provider(), &["lately"]);
}
#[test]
fn tombstone_is_strict() {
    strict(&samples::tombstone(), &provider(), &["release"]);
}
#[test]
fn receipt_is_strict() {
    let own = Receipt { authority: Authority::Local, invocation: None, ..samples::receipt() };
    strict(&own, &provider(), &["stdio"]);
    // What a request was made for must say which.
    let receipt = samples::receipt();
    let asked = entries(&receipt);
    let without: Vec<_> = asked.iter().filter(|(name, _)| name != "invocation").cloned().collect();
    assert_eq!(without.len() + 1, asked.len());
    let bytes = envelope(&provider(), &VARSIG_ED25519_DAG_CBOR, Receipt::TAG, &map_of(&without));
    assert!(Signed::<Receipt>::verify(&bytes).unwrap_err().to_string().contains("names none"));
}
#[test]
fn verdict_is_strict() {
    strict(&samples::verdict(), &requester(), &[]);
}
#[test]
fn query_is_strict() {
    strict(&samples::query(), &requester(), &["filters"]);
}
#[test]
fn rotation_is_strict() {
    strict(&samples::rotation(), &author(), &[]);
}
#[test]
fn page_is_strict() {
    strict(&samples::page(), &provider(), &[]);
}

#[test]
fn delegation_is_strict() {
    strict_but(&samples::delegation(), &author(), &["meta", "nbf"], &["sub", "exp"]);
}
#[test]
fn invocation_is_strict() {
    let optional = ["aud", "meta", "iat", "cause"];
    strict_but(&samples::invocation(), &requester(), &optional, &["exp"]);
}

#[test]
fn delegations_and_invocations_that_no_reader_would_take() {
    use actum_model::ucan::{MAX_CHAIN, MAX_NONCE_BYTES, MAX_TIME};
    let (by, of) = (author(), samples::delegation);
    let nonce = |length: usize| vec![1; length].into();
    let facts = |value: Ipld| Some(BTreeMap::from([("a".to_owned(), value)]));
    let deep = (0..64).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner]));
    Signed::try_sign(Delegation { nonce: nonce(MAX_NONCE_BYTES), exp: Some(MAX_TIME), ..of() }, &by).unwrap();
    invalid(Delegation { nonce: nonce(MAX_NONCE_BYTES + 1), ..of() }, &by, "a nonce of 65 bytes");
    invalid(Delegation { exp: Some(MAX_TIME + 1), ..of() }, &by, "over 2^53 - 1");
    invalid(Delegation { nbf: Some(MAX_TIME + 1), ..of() }, &by, "over 2^53 - 1");
    invalid(Delegation { meta: facts(deep.clone()), ..of() }, &by, "nested over 64 deep");
    let (by, of) = (requester(), samples::invocation);
    let proofs = |count: usize| vec![DelegationId::of(b"a proof"); count];
    Signed::try_sign(Invocation { prf: proofs(MAX_CHAIN), ..of() }, &by).unwrap();
    invalid(Invocation { prf: proofs(MAX_CHAIN + 1), ..of() }, &by, "9 proofs where at most 8");
    invalid(Invocation { nonce: nonce(MAX_NONCE_BYTES + 1), ..of() }, &by, "a nonce of 65 bytes");
    invalid(Invocation { iat: Some(MAX_TIME + 1), ..of() }, &by, "over 2^53 - 1");
    invalid(Invocation { args: facts(deep.clone()).unwrap(), ..of() }, &by, "nested over 64 deep");
    invalid(Invocation { meta: facts(deep), ..of() }, &by, "nested over 64 deep");
    for unsayable in [Ipld::Float(f64::NAN), Ipld::Float(f64::INFINITY), Ipld::Integer(1 << 64)] {
        let signed = Signed::try_sign(Invocation { args: facts(unsayable).unwrap(), ..of() }, &by);
        assert!(matches!(signed, Err(DecodeError::Invalid(_))), "refused before it is encoded");
    }
}

/// The same for what is addressed but not signed.
fn strict_plain<T: serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug>(value: &T) {
    let good = entries(value);
    let refused = |bytes: &[u8]| assert!(codec::decode::<T>(bytes, 1 << 20).is_err(), "{bytes:02x?}");
    let plain = map_of(&good);
    assert!(codec::decode::<T>(&plain, plain.len()).is_ok());
    assert!(matches!(codec::decode::<T>(&plain, plain.len() - 1), Err(DecodeError::TooLarge { .. })));
    refused(&[&plain[..], &[0]].concat());
    refused(&plain[..plain.len() - 1]);
    refused(&[&[0xb8, plain[0] & 0x1f], &plain[1..]].concat());
    for i in 0..good.len() {
        let mut fewer = good.clone();
        fewer.remove(i);
        refused(&map_of(&fewer));
        let mut twice = good.clone();
        twice.insert(i, good[i].clone());
        refused(&map_of(&twice));
    }
    let key = "zzzzzzzzzzzzzzzzzzzzzzzz".to_owned();
    let unknown = [codec::encode(&key), vec![1]].concat();
    refused(&map_of(&[good, vec![(key, unknown)]].concat()));
}

#[test]
fn action_journal_and_profile_are_strict() {
    strict_plain::<Action>(&samples::action());
    strict_plain::<Journal>(&samples::journal());
    strict_plain::<Profile>(&samples::profile());
}

fn invalid<T: Statement + std::fmt::Debug>(payload: T, key: &SecretKey, words: &str) {
    match Signed::<T>::verify(Signed::sign(payload, key).bytes()) {
        Err(EnvelopeError::Decode { source: DecodeError::Invalid(why), .. }) => {
            assert!(why.contains(words), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_life_that_is_empty_backwards_or_too_long() {
    for (nbf, exp) in [(10, 10), (10, 9), (10, 11 + Lease::MAX_LIFE)] {
        invalid(Lease { nbf, exp, ..samples::lease() }, &provider(), "the life must be");
    }
    for (nbf, exp) in [(10, 10), (10, 9), (10, 11 + Descriptor::MAX_LIFE)] {
        invalid(Descriptor { nbf, exp, ..samples::descriptor() }, &provider(), "the life must be");
        invalid(Tombstone { nbf, exp, ..samples::tombstone() }, &provider(), "the life must be");
    }
}

#[test]
fn a_lease_that_counts_what_cannot_be() {
    let lately = samples::lease().lately.unwrap();
    let wrong = [
        (Lately { window: 0, ..lately }, "window"),
        (Lately { window: 86_401, ..lately }, "window"),
        (Lately { actions: 0, ok: 0, ..lately }, "0 of 0"),
        (Lately { actions: 1, ok: 2, ..lately }, "2 of 1"),
    ];
    for (lately, words) in wrong {
        invalid(Lease { lately: Some(lately), ..samples::lease() }, &provider(), words);
    }
}

#[test]
fn a_region_is_a_country_or_a_part_of_one() {
    let region = |text: &str| text.parse::<Region>();
    for bad in ["", "d", "DE", "de-", "de-abcd", "deu", "de-BY", "d1", "de-by-x"] {
        assert!(region(bad).is_err(), "{bad}");
    }
    let (de, by) = (region("de").unwrap(), region("de-by").unwrap());
    assert!(by.is_in(&de) && de.is_in(&de) && !de.is_in(&by));
    assert!(!region("de-b").unwrap().is_in(&region("de-by").unwrap()));
}

#[test]
fn each_filter_refuses_what_does_not_fulfil_it() {
    let offer = samples::descriptor();
    assert_eq!(samples::query().filters.check(&offer), Ok(()), "all at once");
    let tier = |tiers: &[Tier]| tiers.iter().copied().collect();
    let text = |text: &str| Some(text.to_owned());
    let cases: [(&str, Filters); 9] = [
        ("function", Filters { function: text("counts"), ..Filters::default() }),
        ("interface", Filters { interface: text("actum:text/word"), ..Filters::default() }),
        ("interface", Filters { interface: text("actum:text/words@0.2.0"), ..Filters::default() }),
        ("needs_no", Filters { needs_no: [Permission::Network].into(), ..Filters::default() }),
        ("max_price", Filters { max_price: Some(2), ..Filters::default() }),
        ("region", Filters { region: Some("fr".parse().unwrap()), ..Filters::default() }),
        ("region", Filters { region: Some("de-be".parse().unwrap()), ..Filters::default() }),
        ("provider", Filters { provider: Some(author().did()), ..Filters::default() }),
        ("tiers", Filters { tiers: tier(&[Tier::Canary]), ..Filters::default() }),
    ];
    for (name, filters) in cases {
        let offer = Descriptor { tiers: tier(&[Tier::Replay]), ..offer.clone() };
        assert_eq!(filters.check(&offer), Err(name), "{filters:?}");
    }
    // Whoever wants no network wants no HTTP either.
    let http = Descriptor { permissions: [Permission::Http].into(), ..offer };
    let filters = Filters { needs_no: [Permission::Network].into(), ..Filters::default() };
    assert_eq!(filters.check(&http), Err("needs_no"));
}

#[test]
fn a_manifest_is_that_of_its_component() {
    let component = vec![7; 3 * CHUNK_BYTES - 1];
    let chunks = chunk_digests(&component);
    let manifest = manifest(&chunks);
    let bytes = component.len() as u64;
    assert_eq!(read_manifest(&manifest, bytes).unwrap(), chunks);
    for bytes in [0, bytes + 2, bytes - CHUNK_BYTES as u64, (64 << 20) + 1] {
        assert!(read_manifest(&manifest, bytes).is_err(), "{bytes}");
    }
    assert!(read_manifest(&manifest[1..], bytes).is_err());
}

#[test]
fn a_release_with_types_that_no_component_has() {
    use actum_model::WitType;
    use samples::{case, field, names};
    let mut deep = WitType::Bool;
    for _ in 0..65 {
        deep = samples::list(deep);
    }
    let wrong = [
        (WitType::Enum(names(&["a", "b", "a"])), "occurs twice"),
        (WitType::Variant(vec![case("a", None), case("a", Some(WitType::U8))]), "occurs twice"),
        (WitType::Record(vec![field("a", WitType::U8), field("a", WitType::U8)]), "occurs twice"),
        (WitType::Record(vec![]), "empty"),
        (WitType::Tuple(vec![]), "empty"),
        (WitType::Flags((0..33).map(|i| format!("f{i}")).collect()), "at most 32"),
        (deep, "nested"),
    ];
    for (ty, words) in wrong {
        let mut release = samples::release();
        release.functions[0].result = Some(ty.clone());
        invalid(release, &author(), words);
        let mut release = samples::release();
        release.functions[0].params[0].ty = ty;
        invalid(release, &author(), words);
    }
    let mut release = samples::release();
    release.functions[0].params[0].name = "options".into();
    invalid(release, &author(), "occurs twice");
}

#[test]
fn control_characters_in_text_that_is_shown() {
    for c in ['\0', '\x07', '\x1b', '\r', '\n', '\t', '\x7f', '\u{85}', '\u{9b}'] {
        let bad = format!("a{c}b");
        type InRelease = fn(&mut Release, String);
        let places: [InRelease; 4] = [
            |r, bad| r.intent = bad,
            |r, bad| r.tags.push(bad),
            |r, bad| r.functions[0].params[0].name = bad,
            |r, bad| r.functions[0].result = Some(actum_model::WitType::Enum(vec![bad])),
        ];
        for place in places {
            let mut release = samples::release();
            place(&mut release, bad.clone());
            invalid(release, &author(), "control character");
        }
        let mut release = samples::release();
        release.functions[0].docs = bad.clone();
        if c == '\n' || c == '\t' {
            Signed::<Release>::verify(Signed::sign(release, &author()).bytes()).unwrap();
        } else {
            invalid(release, &author(), "control character");
        }
        type InDescriptor = fn(&mut Descriptor, String);
        let places: [InDescriptor; 4] = [
            |d, bad| d.intent = bad,
            |d, bad| d.tags.push(bad),
            |d, bad| d.functions[0].docs = bad,
            |d, bad| d.functions[0].signature = bad,
        ];
        for place in places {
            let mut descriptor = samples::descriptor();
            place(&mut descriptor, bad.clone());
            invalid(descriptor, &provider(), "control character");
        }
        invalid(Lease { addrs: vec![bad], ..samples::lease() }, &provider(), "control character");
    }
}

#[test]
fn a_denial_unsorted_twice_the_same_too_many_or_too_long() {
    let denied = |names: Vec<String>| Receipt { outcome: Outcome::Denied(names), ..samples::receipt() };
    let numbered = |count: usize| (0..count).map(|n| format!("import-{n:0>121}")).collect::<Vec<_>>();
    let signed = Signed::sign(denied(numbered(64)), &provider());
    Signed::<Receipt>::verify(signed.bytes()).unwrap();
    invalid(denied(numbered(65)), &provider(), "at most 64 imports");
    invalid(denied(vec!["i".repeat(129)]), &provider(), "of 128 bytes");
    invalid(denied(samples::names(&["b", "a"])), &provider(), "unsorted");
    invalid(denied(samples::names(&["a", "a"])), &provider(), "occurs twice");
}

#[test]
fn signing_what_no_reader_would_take() {
    let key = author();
    let signed = Signed::try_sign(samples::release(), &key).unwrap();
    assert_eq!(signed, Signed::sign(samples::release(), &key));
    let large = Release { wit: vec![0; Release::MAX_BYTES].into(), ..samples::release() };
    match Signed::try_sign(large, &key) {
        Err(DecodeError::TooLarge { actual, limit }) => {
            assert!(actual > limit && limit == Release::MAX_BYTES)
        }
        other => panic!("{other:?}"),
    }
    let nameless = Release { intent: String::new(), ..samples::release() };
    assert!(matches!(Signed::try_sign(nameless, &key), Err(DecodeError::Invalid(_))));
}

#[test]
fn a_receipt_whose_authority_and_request_do_not_fit() {
    let receipt = samples::granted_receipt;
    let signed = Signed::sign(receipt(), &provider());
    Signed::<Receipt>::verify(signed.bytes()).unwrap();
    let chain = |count: usize| Authority::Granted(vec![DelegationId::of(b"one"); count]);
    invalid(Receipt { authority: chain(0), ..receipt() }, &provider(), "a chain of 0 delegations");
    invalid(Receipt { authority: chain(9), ..receipt() }, &provider(), "a chain of 9 delegations");
    for authority in [chain(1), Authority::Public, Authority::Listed] {
        invalid(Receipt { authority, invocation: None, ..receipt() }, &provider(), "names none");
    }
    let own = [Authority::Local, Authority::Delegated(samples::action().id())];
    for authority in own {
        invalid(Receipt { authority: authority.clone(), ..receipt() }, &provider(), "nobody sent one");
        let signed = Signed::sign(Receipt { authority, invocation: None, ..receipt() }, &provider());
        Signed::<Receipt>::verify(signed.bytes()).unwrap();
    }
}

#[test]
fn a_receipt_that_withholds_what_it_may_not() {
    let receipt = samples::granted_receipt;
    let whole = Action { partial: false, ..receipt().action };
    invalid(Receipt { action: whole, ..receipt() }, &provider(), "not to run with less");
    let other = ["keyvalue:drafts:read".parse().unwrap()].into();
    invalid(Receipt { withheld: other, ..receipt() }, &provider(), "keyvalue:drafts:read was withheld");
    assert_eq!(receipt().given().len(), 2);
    assert!(receipt().given().iter().all(|g| g.to_string() != "keyvalue:drafts"));
}

#[test]
fn the_largest_receipts_are_within_their_bound() {
    let config = |n: usize, bytes: usize| -> Granted {
        format!("config:{n:0>64}={}", "v".repeat(bytes)).parse().unwrap()
    };
    let names = (0..Outcome::DENIED_NAMES).map(|n| format!("{n:0>128}")).collect();
    let longest = Receipt {
        authority: Authority::Granted(vec![DelegationId::of(b"one"); MAX_CHAIN]),
        outcome: Outcome::Denied(names),
        ..samples::granted_receipt()
    };
    let with = |permissions: BTreeSet<Granted>, withheld: BTreeSet<Granted>| Receipt {
        action: Action { permissions, ..longest.action.clone() },
        withheld,
        ..longest.clone()
    };
    let all: BTreeSet<_> = (0..MAX_GRANTED).map(|n| config(n, MAX_CONFIG_BYTES)).collect();
    Signed::try_sign(with(all, [].into()), &provider()).unwrap();
    let asked: BTreeSet<_> =
        (0..MAX_GRANTED).map(|n| config(n, Invocation::MAX_BYTES / MAX_GRANTED)).collect();
    Signed::try_sign(with(asked.clone(), asked), &provider()).unwrap();
}

#[test]
fn only_the_decision_itself_ends_a_journal() {
    for why in Withdrawal::ALL {
        let told = journal::withdrawal(why);
        assert!(told.len() <= journal::WITHDRAWAL_BYTES);
        let entry = |told: &[u8]| JournalEntry {
            told: told.to_vec().into(),
            ..samples::journal().entries[0].clone()
        };
        assert_eq!(entry(&told).withdrawn(), Some(why));
        assert_eq!(entry(&told[..told.len() - 1]).withdrawn(), None);
        assert_eq!(entry(&[&told[..], b"\0"].concat()).withdrawn(), None);
        let mut other = told.clone();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(entry(&other).withdrawn(), None);
    }
}

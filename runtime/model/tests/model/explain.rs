//! A journal reads as words, whatever is in it, and takes no more room than asked for.

use actum_model::{
    BlobId, Bodies, Body, Journal, JournalEntry, Withdrawal, codec,
    explain::{Explained, Width, is_denial, refused, text},
    journal::withdrawal,
};
use proptest::prelude::*;
use serde::Serialize;
use serde_bytes::ByteBuf;

fn words(value: &(impl Serialize + ?Sized)) -> String {
    text(&codec::encode(value), &Bodies::new(), Width::FULL)
}

#[test]
fn each_kind_of_value_has_its_form() {
    let bytes = |b: &[u8]| ByteBuf::from(b);
    for (said, wanted) in [
        (words(&("notes", 7_u64, -7_i64, 1.5_f64, true, None::<u8>)), r#"["notes", 7, -7, 1.5, true, null]"#),
        (words(&bytes("plain, grüße\n".as_bytes())), r#"b"plain, grüße\n""#),
        (words(&bytes(b"\x00\xff")), r#"h"00ff""#),
        (words(&bytes(b"\x1b[2K")), r#"h"1b5b324b""#),
        (words(&bytes(b"")), r#"b"""#),
        (words("say \"\\\u{1b}\u{9b}"), r#""say \"\\\u{1b}\u{9b}""#),
        (words(&Body::of(b"few")), r#"b"few""#),
        (words(&Body::of(&[0; 2000])), &BlobId::of(&[0; 2000]).to_string()),
        (words(&[0_u8; 0]), "[]"),
    ] {
        assert_eq!(said, wanted);
    }
    // What only looks like a body is written as it is.
    #[derive(Serialize)]
    struct Alike {
        id: u8,
    }
    assert_eq!(words(&Alike { id: 1 }), r#"{"id": 1}"#);
}

#[test]
fn a_body_at_hand_stands_for_its_id() {
    let large = "long ".repeat(400).into_bytes();
    let bodies = Bodies::from([(BlobId::of(&large), large.clone())]);
    let encoded = codec::encode(&("key", Body::of(&large)));
    let said = text(&encoded, &bodies, Width { value_bytes: 9, side_bytes: 100 });
    assert_eq!(said, r#"["key", b"long long"… (2000 bytes)]"#);
}

#[test]
fn a_character_is_not_cut_in_two() {
    let width = Width { value_bytes: 4, side_bytes: 100 };
    let said = |value: &[u8]| text(&codec::encode(&ByteBuf::from(value)), &Bodies::new(), width);
    assert_eq!(said("abcé and".as_bytes()), "b\"abc\"… (9 bytes)");
    assert_eq!(said("abc".as_bytes()), "b\"abc\"");
    assert_eq!(said(b"abc\xc3"), "h\"6162\"… (4 bytes)");
    assert_eq!(text(&codec::encode("abcé and"), &Bodies::new(), width), "\"abc\"… (9 bytes)");
}

#[test]
fn many_values_end_in_how_many_more() {
    let many: Vec<u32> = (0..100_000).collect();
    let said = text(&codec::encode(&many), &Bodies::new(), Width::SHORT);
    assert!(said.starts_with("[0, 1, 2, ") && said.ends_with(" more)]"), "{said}");
    assert!(said.len() < 200, "{said}");
    let nested: Vec<Vec<u32>> = vec![many; 3];
    let said = text(&codec::encode(&nested), &Bodies::new(), Width::SHORT);
    assert!(said.ends_with(" more)], … (2 more)]"), "{said}");
}

#[test]
fn what_is_no_dag_cbor_is_shown_as_bytes() {
    for (bytes, wanted) in [
        (&b""[..], "not DAG-CBOR: b\"\""),
        (b"\x81", "not DAG-CBOR: h\"81\""),
        (b"\xf6\xf6", "not DAG-CBOR: h\"f6f6\""),
        (b"\x9f\xff", "not DAG-CBOR: h\"9fff\""),
    ] {
        assert_eq!(text(bytes, &Bodies::new(), Width::FULL), wanted);
    }
    let deep = [vec![0x81; 100_000], vec![0xf6]].concat();
    assert!(text(&deep, &Bodies::new(), Width::FULL).starts_with("not DAG-CBOR"));
}

#[test]
fn a_denial_is_told_apart_from_every_other_answer() {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    enum Error {
        AccessDenied,
        HttpRequestDenied,
        Denied(String),
        Other(String),
        NoSuchStore,
    }
    let told = |error| codec::encode(&Err::<u8, Error>(error));
    let why = || "denied".to_owned();
    for denial in [Error::AccessDenied, Error::HttpRequestDenied, Error::Denied(why())] {
        assert!(is_denial(&told(denial)));
    }
    for other in [
        told(Error::Other(why())),
        told(Error::NoSuchStore),
        codec::encode(&Ok::<_, u8>("denied")),
        codec::encode("denied"),
        codec::encode(&Ok::<_, u8>(BlobId::of(b""))),
        vec![],
        vec![0xff],
    ] {
        assert!(!is_denial(&other), "{other:?}");
    }
    let entry = JournalEntry {
        function: "wasi:keyvalue/store#open".to_owned(),
        asked: ByteBuf::from(codec::encode(&("secrets", "Open"))),
        told: ByteBuf::from(told(Error::AccessDenied)),
        bodies: vec![],
    };
    assert_eq!(
        Explained::of(&entry, &Bodies::new(), Width::FULL).to_string(),
        r#"wasi:keyvalue/store#open  asked ["secrets", "Open"]  told {"Err": "access-denied"}  denied"#
    );
    let told = |told: Vec<u8>| JournalEntry { told: told.into(), ..entry.clone() };
    let answered = told(codec::encode(&Ok::<_, u8>(true)));
    let revoked = told(withdrawal(Withdrawal::Revoked));
    assert_eq!(
        Explained::of(&revoked, &Bodies::new(), Width::FULL).to_string(),
        r#"wasi:keyvalue/store#open  asked ["secrets", "Open"]  withdrawn: the authority to run was revoked before this; nothing was done"#
    );
    let journal = Journal { entries: vec![answered.clone(), entry.clone(), answered, revoked] };
    let refused: Vec<_> = refused(&journal, &Bodies::new(), Width::FULL).collect();
    assert_eq!(refused.iter().map(|r| r.entry).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(refused[0].function, "wasi:keyvalue/store#open");
    assert_eq!(refused[0].why, r#"{"Err": "access-denied"}"#);
    assert!(refused[1].why.starts_with("withdrawn"), "{}", refused[1].why);
}

proptest! {
    #[test]
    fn any_bytes_are_explained_within_their_room(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let said = text(&bytes, &Bodies::new(), Width::SHORT);
        prop_assert!(said.len() < 20 * Width::SHORT.side_bytes);
        prop_assert!(!said.contains(|c: char| c.is_control()));
        is_denial(&bytes);
    }
}

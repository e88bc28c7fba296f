//! Chains, revocations, containers and what is remembered: what is proved, and what is refused by which name.

use crate::policies::{any_args, policy, statement};
use actum_model::{
    Delegation, DelegationId, Did, EnvelopeError, Invocation, SecretKey, Signed,
    ucan::{
        Args, Budget, Chain, ChainError, Command, Known, MAX_CHAIN, Policy, Proof, Revocation,
        RevocationError,
        chain::Link,
        container::{self, ContainerError, Form},
        policy::Statement,
        validate,
    },
};
use ipld_core::ipld::Ipld;
use proptest::prelude::*;
use std::cell::RefCell;

const NOW: u64 = 1_800_000_000;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}
fn did(n: u8) -> Did {
    key(n).did()
}
fn command(text: &str) -> Command {
    text.parse().unwrap()
}

/// From one to another, about the first of people.
fn delegation(from: u8, to: u8) -> Delegation {
    Delegation {
        iss: did(from),
        aud: did(to),
        sub: Some(did(0)),
        cmd: command("/actum"),
        pol: Policy::default(),
        nonce: vec![from, to].into(),
        meta: None,
        nbf: None,
        exp: None,
    }
}
fn proof(delegation: Delegation) -> Proof {
    let issuer = (0..50).map(key).find(|k| k.did() == delegation.iss).unwrap();
    Signed::try_sign(delegation, &issuer).unwrap().into()
}
/// From 0 to 1 to 2 and so on, up to `last`.
fn links(last: u8) -> Vec<Proof> {
    (0..last).map(|n| proof(delegation(n, n + 1))).collect()
}
fn invocation(invoker: u8, proofs: &[Proof], args: Args) -> Invocation {
    Invocation {
        iss: did(invoker),
        sub: did(0),
        aud: None,
        cmd: command("/actum/run"),
        args,
        prf: proofs.iter().map(|p| *p.id()).collect(),
        meta: None,
        nonce: vec![1; 12].into(),
        exp: Some(NOW + 300),
        iat: Some(NOW),
        cause: None,
    }
}
fn prove(invocation: Invocation, proofs: &[Proof]) -> Result<Chain, ChainError> {
    let issuer = (0..50).map(key).find(|k| k.did() == invocation.iss).unwrap();
    let signed = Signed::try_sign(invocation, &issuer).unwrap();
    let find = |id: &DelegationId| proofs.iter().find(|p| p.id() == id).cloned().map(Ok);
    validate(&signed, find, NOW, 0, &mut Budget::default())
}

#[test]
fn a_chain_leads_from_its_subject_to_its_invoker() {
    for last in 0..=MAX_CHAIN as u8 {
        let proofs = links(last);
        let chain = prove(invocation(last, &proofs, Args::new()), &proofs).unwrap();
        assert_eq!((chain.subject(), chain.invoker()), (&did(0), &did(last)));
        assert_eq!(chain.ids(), proofs.iter().map(|p| *p.id()).collect::<Vec<_>>());
    }
    let powerline = Delegation { sub: None, cmd: Command::top(), ..delegation(1, 2) };
    let proofs = [proof(delegation(0, 1)), proof(powerline)];
    assert!(prove(invocation(2, &proofs, Args::new()), &proofs).is_ok());
}

#[test]
fn chains_that_lead_elsewhere_say_where_they_break() {
    let refuse = |proofs: Vec<Proof>, invoker: u8| {
        let error = Chain::of(proofs, &did(0), &did(invoker)).unwrap_err();
        (error.name(), error)
    };
    assert!(matches!(refuse(vec![], 1), ("InvalidClaim", ChainError::NoProof { .. })));
    assert!(matches!(
        refuse(links(MAX_CHAIN as u8 + 1), MAX_CHAIN as u8 + 1),
        ("InvalidClaim", ChainError::TooLong { actual: 9 })
    ));
    assert!(matches!(refuse(links(3), 2), ("InvalidAudience", ChainError::InvalidAudience { index: 2, .. })));
    let gap = vec![proof(delegation(0, 1)), proof(delegation(2, 3))];
    match refuse(gap, 3) {
        ("InvalidAudience", error @ ChainError::InvalidAudience { index: 0, audience, user }) => {
            assert_eq!((audience, user), (did(1), did(2)));
            assert_eq!(error.to_string(), format!("proof 0 is to {}, and used by {}", did(1), did(2)));
        }
        other => panic!("{other:?}"),
    }
    let mut reversed = links(2);
    reversed.reverse();
    assert_eq!(refuse(reversed, 2).0, "InvalidAudience");
    // Mallory delegates what is not hers.
    let stolen = vec![proof(delegation(9, 1))];
    assert!(
        matches!(refuse(stolen, 1), ("InvalidSubject", ChainError::InvalidSubject { index: 0, found, .. }) if found == did(9))
    );
    let other = vec![proof(delegation(0, 1)), proof(Delegation { sub: Some(did(9)), ..delegation(1, 2) })];
    assert!(matches!(refuse(other, 2), ("InvalidSubject", ChainError::InvalidSubject { index: 1, .. })));
    let powerline = vec![proof(Delegation { sub: None, ..delegation(0, 1) })];
    assert!(matches!(refuse(powerline, 1), ("InvalidClaim", ChainError::RootPowerline { .. })));
}

#[test]
fn a_proof_that_is_not_the_one_named_is_not_at_hand() {
    let proofs = links(2);
    let signed = Signed::sign(invocation(2, &proofs, Args::new()), &key(2));
    let wrong = |_: &DelegationId| Some(Ok(proofs[0].clone()));
    let error = validate(&signed, wrong, NOW, 0, &mut Budget::default()).unwrap_err();
    assert!(
        matches!(error, ChainError::UnavailableProof { link: Link(Some(1)), id } if id == *proofs[1].id())
    );
}

#[test]
fn commands_cover_themselves_and_what_is_below() {
    for (delegated, invoked, covered) in [
        ("/", "/actum/run", true),
        ("/actum", "/actum/run", true),
        ("/actum/run", "/actum/run", true),
        ("/actum/run/fast", "/actum/run", false),
        ("/actum/ru", "/actum/run", false),
        ("/act", "/actum/run", false),
        ("/other", "/actum/run", false),
    ] {
        let proofs =
            vec![proof(delegation(0, 1)), proof(Delegation { cmd: command(delegated), ..delegation(1, 2) })];
        let chain = Chain::of(proofs, &did(0), &did(2)).unwrap();
        match chain.covers(&command(invoked)) {
            Ok(()) => assert!(covered, "{delegated} and {invoked}"),
            Err(e @ ChainError::Command { index: 1, .. }) => {
                assert!(!covered && e.name() == "InvalidClaim", "{e}")
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn a_chain_is_valid_from_its_latest_beginning_to_its_first_end_both_included() {
    let timed = |n: u8, nbf, exp| proof(Delegation { nbf, exp, ..delegation(n, n + 1) });
    let proofs = vec![timed(0, Some(100), Some(1_000)), timed(1, None, None), timed(2, Some(200), Some(500))];
    let chain = Chain::of(proofs, &did(0), &did(3)).unwrap();
    assert_eq!(chain.until(), Some(500));
    for (now, skew, expected) in [
        (99, 0, "TooEarly"),
        (199, 0, "TooEarly"),
        (200, 0, ""),
        (500, 0, ""),
        (501, 0, "Expired"),
        (139, 60, "TooEarly"),
        (140, 60, ""),
        (560, 60, ""),
        (561, 60, "Expired"),
        (u64::MAX, 60, "Expired"),
        (0, u64::MAX, ""),
        (u64::MAX, u64::MAX, ""),
    ] {
        let name = chain.at(now, skew).map_or_else(|e| e.name(), |()| "");
        assert_eq!(name, expected, "at {now}, give or take {skew}");
    }
    let error = chain.at(501, 0).unwrap_err();
    assert!(matches!(error, ChainError::Expired { link: Link(Some(2)), exp: 500, now: 501, skew: 0 }));
    assert!(error.to_string().starts_with("proof 2 expired at 500; it is 501,"), "{error}");

    let proofs = links(1);
    for (exp, ok) in [(Some(NOW), true), (Some(NOW - 1), false), (None, true)] {
        let proved = prove(Invocation { exp, ..invocation(1, &proofs, Args::new()) }, &proofs);
        assert_eq!(proved.is_ok(), ok);
        if let Err(e) = proved {
            assert!(matches!(e, ChainError::Expired { link: Link(None), .. }), "{e}");
        }
    }
}

#[test]
fn every_delegation_judges_with_its_own_arguments() {
    let with = |n: u8, json| proof(Delegation { pol: policy(json), ..delegation(n, n + 1) });
    let proofs = vec![
        with(0, serde_json::json!([["<=", ".spent", 10]])),
        with(1, serde_json::json!([])),
        with(2, serde_json::json!([["!=", ".a", 1], ["<=", ".spent", 2]])),
    ];
    let chain = Chain::of(proofs.clone(), &did(0), &did(3)).unwrap();
    let spent = |n: i128| Args::from([("spent".to_owned(), n.into())]);
    let judge = |each: [i128; 3]| {
        let args = |index: usize, of: &Proof| {
            assert_eq!(of, &proofs[index]);
            spent(each[index])
        };
        chain.judge(args, &mut Budget::default())
    };
    judge([10, 99, 2]).unwrap();
    assert!(matches!(judge([11, 0, 0]), Err(ChainError::Policy { index: 0, .. })));
    match judge([10, 0, 3]) {
        Err(e @ ChainError::Policy { index: 2, issuer, .. }) => {
            assert_eq!((e.name(), issuer), ("MatchError", did(2)));
            assert!(e.to_string().ends_with(r#"statement 1 is not met: ["<=", ".spent", 2]"#), "{e}");
        }
        other => panic!("{other:?}"),
    }
    // One budget for the chain.
    assert!(chain.judge(|_, _| spent(1), &mut Budget::new(5)).is_err());
    // A validator that knows no `.spent` refuses.
    assert_eq!(prove(invocation(3, &proofs, Args::new()), &proofs).unwrap_err().name(), "MatchError");
}

#[test]
fn whoever_is_above_is_asked_about_a_revocation_and_nobody_else() {
    let proofs = links(3);
    let chain = Chain::of(proofs.clone(), &did(0), &did(3)).unwrap();
    let asked = RefCell::new(Vec::new());
    let none = |id: &DelegationId, above: &[Did]| {
        asked.borrow_mut().push((*id, above.to_vec()));
        None
    };
    chain.standing(&none).unwrap();
    let expected: Vec<_> = proofs
        .iter()
        .enumerate()
        .map(|(n, p)| (*p.id(), (0..=n as u8).map(did).collect::<Vec<_>>()))
        .collect();
    assert_eq!(*asked.borrow(), expected);

    let by = |revoker: u8, revoked: usize| {
        let id = *proofs[revoked].id();
        let store = move |asked: &DelegationId, above: &[Did]| {
            above.iter().find(|d| *asked == id && **d == did(revoker)).copied()
        };
        chain.standing(&store)
    };
    for revoked in 0..3 {
        for revoker in 0..5 {
            match by(revoker, revoked) {
                Ok(()) => assert!(usize::from(revoker) > revoked),
                Err(e @ ChainError::Revoked { index, .. }) => {
                    assert!(usize::from(revoker) <= revoked && index == revoked && e.name() == "Revoked");
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
}

fn bytes(proofs: &[Proof]) -> Vec<Vec<u8>> {
    proofs.iter().map(|p| p.bytes().to_vec()).collect()
}

#[test]
fn issuers_and_those_above_revoke() {
    let mut path = links(2);
    path.push(proof(Delegation { exp: Some(NOW), ..delegation(2, 3) }));
    for revoker in 0..3 {
        let signed = Revocation::make(&path, Some(NOW), &key(revoker)).unwrap();
        let revocation = Revocation::read(signed.bytes(), &bytes(&path)).unwrap();
        let expected = Revocation {
            id: signed.id(),
            revoked: *path[2].id(),
            revoker: did(revoker),
            until: Some(NOW),
            subject: Some(did(0)),
            iat: Some(NOW),
        };
        assert_eq!(revocation, expected);
    }
    let (one, two) =
        (Revocation::make(&path, None, &key(1)).unwrap(), Revocation::make(&path, None, &key(1)).unwrap());
    assert_eq!(one.bytes(), two.bytes(), "it is idempotent");
    // A delegation without a subject, by its issuer, and as part of a chain.
    let powerline = proof(Delegation { sub: None, ..delegation(1, 2) });
    let alone = [powerline.clone()];
    let signed = Revocation::make(&alone, None, &key(1)).unwrap();
    assert_eq!(Revocation::read(signed.bytes(), &bytes(&alone)).unwrap().subject, None);
    let path = [proof(delegation(0, 1)), powerline];
    assert_eq!(
        Revocation::verify(&Revocation::make(&path, None, &key(0)).unwrap(), &path).unwrap().subject,
        Some(did(0))
    );
}

#[test]
fn mallory_does_not_revoke() {
    let path = links(2);
    let theirs = |path: &[Proof], who: u8| {
        let error = Revocation::make(path, None, &key(who)).unwrap_err();
        // The same, however it is signed.
        let link = |p: &Proof| Ipld::Link(*p.id().cid());
        let args = Args::from([
            ("revoke".to_owned(), link(path.last().unwrap())),
            ("path".to_owned(), Ipld::List(path.iter().map(link).collect())),
        ]);
        let forged = revocation(Invocation { args, ..shape(who, path) }, who);
        assert_eq!(Revocation::read(&forged, &bytes(path)).unwrap_err().to_string(), error.to_string());
        error
    };
    // Neither a stranger nor whom it was given to, nor who is below.
    for who in [9, 2, 3] {
        assert!(
            matches!(theirs(&path, who), RevocationError::NotTheirs { revoker, .. } if revoker == did(who))
        );
    }
    assert!(matches!(theirs(&path[..1], 1), RevocationError::NotTheirs { .. }));
    // She delegates to somebody on the path, and calls that the path.
    let own = |sub| proof(Delegation { sub, ..delegation(9, 1) });
    for (sub, name) in
        [(Some(did(0)), "InvalidSubject"), (Some(did(9)), "InvalidSubject"), (None, "InvalidClaim")]
    {
        match theirs(&[own(sub), path[1].clone()], 9) {
            RevocationError::Path(e) => assert_eq!(e.name(), name, "{e}"),
            other => panic!("{other}"),
        }
    }
    // What she delegated to nobody on it.
    let aside = [proof(Delegation { sub: Some(did(9)), ..delegation(9, 8) }), path[1].clone()];
    assert!(matches!(theirs(&aside, 9), RevocationError::Path(_)));
    // A path of powerlines only is nobody's but the issuer's.
    let lines = [own(None), proof(Delegation { sub: None, ..delegation(1, 2) })];
    assert!(matches!(theirs(&lines, 9), RevocationError::Path(ChainError::RootPowerline { .. })));
    assert!(matches!(theirs(&lines[1..], 2), RevocationError::NotTheirs { .. }));
}

/// A revocation of the last of `path`, before anything about it is changed.
fn shape(who: u8, path: &[Proof]) -> Invocation {
    let link = |p: &Proof| Ipld::Link(*p.id().cid());
    let args = Args::from([
        ("revoke".to_owned(), path.last().map_or(Ipld::Null, link)),
        ("path".to_owned(), Ipld::List(path.iter().map(link).collect())),
    ]);
    Invocation {
        iss: did(who),
        sub: did(who),
        cmd: command("/ucan/revoke"),
        nonce: vec![].into(),
        exp: None,
        iat: None,
        ..invocation(who, &[], args)
    }
}
fn revocation(invocation: Invocation, who: u8) -> Vec<u8> {
    Signed::sign(invocation, &key(who)).bytes().to_vec()
}

#[test]
fn what_is_no_revocation() {
    let path = links(2);
    let witness = bytes(&path);
    let good = || shape(1, &path);
    Revocation::read(&revocation(good(), 1), &witness).unwrap();
    let args = |change: fn(&mut Args)| {
        let mut args = good().args;
        change(&mut args);
        Invocation { args, ..good() }
    };
    for (bad, words) in [
        (Invocation { cmd: command("/ucan"), ..good() }, "the command is /ucan"),
        (Invocation { cmd: command("/ucan/revoke/x"), ..good() }, "the command"),
        (Invocation { sub: did(0), ..good() }, "its own subject"),
        (Invocation { aud: Some(did(0)), ..good() }, "its own subject"),
        (Invocation { prf: vec![*path[0].id()], ..good() }, "proofs"),
        (Invocation { meta: Some(Args::new()), ..good() }, "facts"),
        (Invocation { cause: Some(*path[0].id().cid()), ..good() }, "cause"),
        (Invocation { nonce: vec![1].into(), ..good() }, "a nonce"),
        (Invocation { exp: Some(NOW), ..good() }, "an end"),
        (args(|a| drop(a.remove("path"))), "`revoke` and `path`"),
        (args(|a| drop(a.remove("revoke"))), "`revoke` and `path`"),
        (args(|a| drop(a.insert("more".into(), Ipld::Null))), "`revoke` and `path`"),
        (args(|a| drop(a.insert("path".into(), Ipld::Null))), "`revoke` and `path`"),
        (args(|a| drop(a.insert("path".into(), Ipld::List(vec![])))), "does not end at"),
        (args(|a| drop(a.insert("path".into(), Ipld::List(vec![Ipld::Null])))), "no link"),
        (args(|a| drop(a.insert("revoke".into(), Ipld::Null))), "no link"),
        (args(|a| drop(a.insert("path".into(), Ipld::List(vec![a["revoke"].clone(); 9])))), "over 8"),
    ] {
        match Revocation::read(&revocation(bad, 1), &witness) {
            Err(RevocationError::Shape(why)) => assert!(why.contains(words), "{words}: {why}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    assert!(matches!(Revocation::read(&revocation(good(), 2), &witness), Err(RevocationError::Token(_))));
    let read = |witness: &[Vec<u8>]| Revocation::read(&revocation(good(), 1), witness).unwrap_err();
    assert!(matches!(read(&witness[..1]), RevocationError::Witness { index: 1, wanted: Some(_) }));
    assert!(matches!(read(&[]), RevocationError::Witness { index: 0, wanted: Some(_) }));
    let swapped = [witness[1].clone(), witness[0].clone()];
    assert!(matches!(read(&swapped), RevocationError::Witness { index: 0, .. }));
    let more = [witness.clone(), witness[..1].to_vec()].concat();
    assert!(matches!(read(&more), RevocationError::Witness { index: 2, wanted: None }));
    assert!(matches!(read(&vec![witness[0].clone(); 9]), RevocationError::Shape(_)));
    let mut broken = witness.clone();
    broken[1][10] ^= 1;
    assert!(matches!(read(&broken), RevocationError::Path(e) if e.name() == "InvalidSignature"));
}

#[test]
fn containers_come_back_in_every_form_and_in_order() {
    let proofs = links(4);
    for form in [Form::Raw, Form::Base64, Form::Base64Url] {
        let written = container::write_chain(&proofs, form).unwrap();
        let mut shuffled = proofs.clone();
        shuffled.rotate_left(1);
        shuffled.swap(0, 2);
        assert_eq!(container::write_chain(&shuffled, form).unwrap(), written, "the order means nothing");
        assert_eq!(container::read_chain(&written).unwrap(), proofs);
        let lines =
            ["\n", "\r\n"].map(|end| container::read_chain(&[&written, end.as_bytes()].concat()).is_ok());
        assert_eq!(lines, [form != Form::Raw; 2]);
        assert!(container::read_chain(&[&written[..], b"\n\n"].concat()).is_err());
        assert!(container::read_chain(&written[..written.len() - 1]).is_err());
    }
    let line = [proof(Delegation { sub: None, ..delegation(1, 2) })];
    let written = container::write_chain(&line, Form::Base64).unwrap();
    assert_eq!(container::read_chain(&written).unwrap(), line);
}

#[test]
fn a_container_is_the_bytes_the_specification_says() {
    let tokens = [b"bb".as_slice(), b"a", b"a", b"\xff\xfe"];
    let inner = b"\xa1\x66ctn-v1\x83\x41a\x42bb\x42\xff\xfe";
    let raw = container::write(tokens, Form::Raw).unwrap();
    assert_eq!(raw, [b"@", inner.as_slice()].concat());
    assert_eq!(container::write(tokens, Form::Base64).unwrap(), b"BoWZjdG4tdjGDQWFCYmJC//4=");
    assert_eq!(container::write(tokens, Form::Base64Url).unwrap(), b"CoWZjdG4tdjGDQWFCYmJC__4");
    assert_eq!(container::read(&raw).unwrap(), [b"a".as_slice(), b"bb", b"\xff\xfe"]);
    // Unsorted, as containers in the wild are.
    assert_eq!(container::read(b"@\xa1\x66ctn-v1\x82\x41b\x41a").unwrap(), [b"b", b"a"]);
}

#[test]
fn containers_that_are_none() {
    let refuse = |bytes: &[u8]| container::read(bytes).unwrap_err();
    for unknown in [b"".as_slice(), b" @", b"\xa1", b"A", b"{}"] {
        assert!(matches!(refuse(unknown), ContainerError::Unknown), "{unknown:?}");
    }
    for gzip in [b"M\x1f\x8b".as_slice(), b"OH4s", b"PH4s"] {
        assert!(matches!(refuse(gzip), ContainerError::Compressed), "{gzip:?}");
    }
    for text in [
        "BoWZj dG4",
        "BoWZjdG4tdjGDQWFCYmJC__4=",
        "CoWZjdG4tdjGDQWFCYmJC//4",
        "CoWZjdG4tdjGDQWFCYmJC__4=",
        "B=",
    ] {
        assert!(matches!(refuse(text.as_bytes()), ContainerError::Base64(_)), "{text}");
    }
    for inner in [
        b"".as_slice(),
        b"\xa0",
        b"\xa1\x66ctn-v2\x81\x41a",
        b"\xa2\x66ctn-v1\x81\x41a\x66ctn-v2\x81\x41a",
        b"\xa1\x66ctn-v1\x81\x61a",
        b"\xa1\x66ctn-v1\x41a",
        b"\xa1\x66ctn-v1\x81\x41a\x00",
        b"\xa1\x66ctn-v1\x9f\x41a\xff",
        b"\xa1\x66ctn-v1\x81\x58\x01a",
    ] {
        assert!(matches!(refuse(&[b"@", inner].concat()), ContainerError::Decode(_)), "{inner:?}");
    }
    assert!(matches!(refuse(b"@\xa1\x66ctn-v1\x82\x41a\x41a"), ContainerError::Twice(1)));
    let many: Vec<[u8; 1]> = (0..=container::MAX_TOKENS as u8).map(|n| [n]).collect();
    assert!(container::write(&many[1..], Form::Raw).is_ok());
    assert!(matches!(
        container::write(&many, Form::Raw),
        Err(ContainerError::TooMany { actual: 17, limit: 16 })
    ));
    for first in ['@', 'B', 'C'] {
        let large = first.to_string() + &"A".repeat(container::MAX_TEXT_BYTES);
        assert!(matches!(
            refuse(large.as_bytes()),
            ContainerError::Decode(actum_model::DecodeError::TooLarge { .. })
        ));
    }
    let largest = vec![vec![0; 16 << 10]; 1];
    assert!(container::read(&container::write(&largest, Form::Base64).unwrap()).is_ok());
}

#[test]
fn delegations_that_are_not_one_chain() {
    let refuse = |proofs: &[Proof]| {
        let error = container::read_chain(&container::write_chain(proofs, Form::Raw).unwrap()).unwrap_err();
        assert!(matches!(error, ContainerError::NotAChain(n) if n == proofs.len()), "{error}");
    };
    refuse(&[]);
    refuse(&links(3)[1..]);
    refuse(&[links(1), links(4)[2..].to_vec()].concat());
    refuse(&[proof(delegation(0, 1)), proof(delegation(0, 2))]);
    refuse(&[proof(delegation(0, 1)), proof(Delegation { sub: Some(did(1)), ..delegation(1, 2) })]);
    refuse(&[proof(Delegation { sub: None, ..delegation(0, 1) }), proof(delegation(1, 2))]);
    // Many orders to try, and none of them right.
    let looping = |n: u8| proof(Delegation { nonce: vec![n].into(), ..delegation(0, 0) });
    refuse(&[(0..7).map(looping).collect(), vec![proof(delegation(5, 6))]].concat());
    let loops: Vec<Proof> = [(0..7).map(looping).collect(), vec![proof(delegation(0, 6))]].concat();
    let read = container::read_chain(&container::write_chain(&loops, Form::Raw).unwrap()).unwrap();
    assert_eq!(read.last(), loops.last());
    let bad = container::write([b"token"], Form::Raw).unwrap();
    assert!(matches!(container::read_chain(&bad), Err(ContainerError::Token { index: 0, .. })));
    assert!(matches!(
        container::write_chain(&links(9), Form::Raw),
        Err(ContainerError::TooMany { actual: 9, limit: 8 })
    ));
}

#[test]
fn what_is_known_is_bounded_and_only_what_verified() {
    let mut known = Known::new();
    let first = proof(delegation(0, 1));
    assert_eq!(known.read(first.bytes()).unwrap(), first);
    assert_eq!((known.get(first.id()), known.len()), (Some(&first), 1));
    let mut forged = first.bytes().to_vec();
    forged[20] ^= 1;
    assert!(matches!(known.read(&forged), Err(EnvelopeError::BadSignature { .. })));
    assert!(known.read(&vec![0x82; 1 << 20]).is_err());
    assert_eq!(known.len(), 1);
    let make = |n: usize, meta| {
        proof(Delegation { nonce: n.to_be_bytes().to_vec().into(), meta, ..delegation(0, 1) })
    };
    for n in 0..Known::MAX_PROOFS {
        known.remember(make(n, None));
    }
    assert_eq!((known.len(), known.get(first.id())), (Known::MAX_PROOFS, None));
    // Small on the wire, large when decoded: fewer are kept.
    let meta = Args::from([("a".to_owned(), Ipld::List(vec![Ipld::Null; 15_000]))]);
    for n in 0..20 {
        known.remember(make(n, Some(meta.clone())));
    }
    assert!((1..20).contains(&known.len()), "{}", known.len());
}

#[test]
fn a_signature_of_another_length_is_no_signature() {
    let token = proof(delegation(0, 1)).bytes().to_vec();
    let (signature, signed) = (&token[3..67], &token[67..]);
    for length in [0, 3, 23, 24, 63, 65, 255, 256] {
        let cut: Vec<u8> = signature.iter().cycle().take(length).copied().collect();
        let wrong = [&[0x82], &actum_model::codec::encode(&Ipld::Bytes(cut))[..], signed].concat();
        match Proof::read(&wrong) {
            Err(EnvelopeError::SignatureLength { actual }) => assert_eq!(actual, length),
            other => panic!("{length}: {other:?}"),
        }
    }
    for torn in [
        [0x82, 0x58, 0x03].as_slice(),
        &[0x82, 0x59, 0x01],
        &[0x82],
        &[0x82, 0x43, 1, 2, 3],
        &[0x82, 0x58, 0x40, 1],
    ] {
        assert!(matches!(Proof::read(torn), Err(EnvelopeError::Decode { .. })), "{torn:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    "/([a-z]{1,3}(/[a-zß-]{1,3}){0,2})?"
}

fn facts() -> impl Strategy<Value = Option<Args>> {
    prop::option::of(any_args())
}

fn any_delegation() -> impl Strategy<Value = Delegation> {
    let times = (prop::option::of(0..1_u64 << 53), prop::option::of(0..1_u64 << 53));
    let people = (0..9_u8, 0..9_u8, prop::option::of(0..9_u8));
    let statements = prop::collection::vec(statement(), 0..3);
    (people, text(), statements, prop::collection::vec(any::<u8>(), 0..64), facts(), times).prop_map(
        |((iss, aud, sub), cmd, statements, nonce, meta, (nbf, exp))| Delegation {
            iss: did(iss),
            aud: did(aud),
            sub: sub.map(did),
            cmd: command(&cmd),
            pol: Policy::new(statements),
            nonce: nonce.into(),
            meta,
            nbf,
            exp,
        },
    )
}

fn any_invocation() -> impl Strategy<Value = Invocation> {
    let times = (prop::option::of(0..1_u64 << 53), prop::option::of(0..1_u64 << 53));
    let people = (0..9_u8, 0..9_u8, prop::option::of(0..9_u8));
    let links = (prop::collection::vec(any::<u8>(), 0..8), prop::option::of(any::<u8>()));
    (people, text(), any_args(), links, prop::collection::vec(any::<u8>(), 0..64), facts(), times).prop_map(
        |((iss, sub, aud), cmd, args, (prf, cause), nonce, meta, (exp, iat))| Invocation {
            iss: did(iss),
            sub: did(sub),
            aud: aud.map(did),
            cmd: command(&cmd),
            args,
            prf: prf.into_iter().map(|n| DelegationId::of(&[n])).collect(),
            meta,
            nonce: nonce.into(),
            exp,
            iat,
            cause: cause.map(|n| *DelegationId::of(&[n]).cid()),
        },
    )
}

/// With any one bit flipped, bytes are neither kind of token.
fn no_flip_verifies(bytes: &[u8], bit: prop::sample::Index) -> Result<(), TestCaseError> {
    let bit = bit.index(bytes.len() * 8);
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    prop_assert!(Signed::<Delegation>::verify(&flipped).is_err(), "bit {bit} flipped");
    prop_assert!(Signed::<Invocation>::verify(&flipped).is_err(), "bit {bit} flipped");
    let mut known = Known::new();
    known.read(bytes).ok();
    prop_assert!(known.read(&flipped).is_err(), "bit {bit} flipped, the right one known");
    Ok(())
}

proptest! {
    #[test]
    fn delegations_come_back(delegation in any_delegation(), bit in any::<prop::sample::Index>()) {
        let proof = proof(delegation.clone());
        let read = Signed::<Delegation>::verify(proof.bytes()).unwrap();
        prop_assert_eq!(read.payload(), &delegation);
        prop_assert_eq!(&read.id(), proof.id());
        prop_assert!(Signed::<Invocation>::verify(proof.bytes()).is_err());
        no_flip_verifies(proof.bytes(), bit)?;
    }

    #[test]
    fn invocations_come_back(invocation in any_invocation(), bit in any::<prop::sample::Index>()) {
        let issuer = (0..9).map(key).find(|k| k.did() == invocation.iss).unwrap();
        let signed = Signed::try_sign(invocation.clone(), &issuer).unwrap();
        let read = Signed::<Invocation>::verify(signed.bytes()).unwrap();
        prop_assert_eq!(read.payload(), &invocation);
        prop_assert!(Signed::<Delegation>::verify(signed.bytes()).is_err());
        no_flip_verifies(signed.bytes(), bit)?;
    }

    /// Whatever is delegated below it, a chain lets nothing through that any of its policies refuses, the root's first.
    #[test]
    fn no_chain_allows_more_than_its_root(
        policies in prop::collection::vec(prop::collection::vec(statement(), 0..2), 1..5), args in any_args()
    ) {
        let chained = |(n, statements): (usize, Vec<Statement>)| {
            let n = n as u8;
            proof(Delegation { pol: Policy::new(statements), ..delegation(n, n + 1) })
        };
        let proofs: Vec<Proof> = policies.into_iter().enumerate().map(chained).collect();
        let met: Vec<bool> = proofs.iter().map(|p| p.pol.check(&args, &mut Budget::default()).is_ok()).collect();
        let proved = prove(invocation(proofs.len() as u8, &proofs, args), &proofs);
        prop_assert_eq!(proved.is_ok(), met.iter().all(|met| *met));
        if let Err(ChainError::Policy { index, .. }) = proved {
            prop_assert_eq!(Some(index), met.iter().position(|met| !met));
        }
    }

    #[test]
    fn reading_a_container_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), form in "[@BCMOPx]") {
        let _ = container::read_chain(&[form.as_bytes(), &bytes].concat());
        let tokens = [bytes];
        for form in [Form::Raw, Form::Base64, Form::Base64Url] {
            prop_assert_eq!(container::read(&container::write(&tokens, form).unwrap()).unwrap(), &tokens);
        }
    }
}

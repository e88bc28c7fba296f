//! Keys as files: OpenSSL reads ours, we read OpenSSL's, and nothing else is taken for a key.

use crate::samples::author;
use actum_model::{
    Passphrase, SecretKey,
    key::KeyError,
    keyfile::{KeyText, MAX_PBKDF2_ITERATIONS, PassphraseError},
};
use data_encoding::BASE64;
use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PASSPHRASE: &str = "correct horse battery";

fn passphrase(text: &str) -> Passphrase {
    Passphrase::given(text.to_owned()).unwrap()
}

fn sealed() -> String {
    author().to_sealed_pem(&passphrase(PASSPHRASE), &[7; 16], [8; 16])
}

/// What OpenSSL prints; none, loudly, where there is no OpenSSL.
fn openssl(args: &[&str], stdin: &str) -> Option<String> {
    let child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: openssl is not installed, so what it reads and writes was not tried");
        return None;
    };
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The public key in an SPKI PEM, as OpenSSL writes it.
fn public_of(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    let der = BASE64.decode(base64.as_bytes()).unwrap();
    der[der.len() - 32..].to_vec()
}

#[test]
fn openssl_reads_our_keys() {
    let key = author();
    if let Some(public) = openssl(&["pkey", "-pubout"], &key.to_pem()) {
        assert_eq!(public_of(&public), key.did().as_bytes());
    }
    let pass = format!("pass:{PASSPHRASE}");
    if let Some(public) = openssl(&["pkey", "-pubout", "-passin", &pass], &sealed()) {
        assert_eq!(public_of(&public), key.did().as_bytes());
    }
}

#[test]
fn keys_of_openssl_are_read() {
    let Some(plain) = openssl(&["genpkey", "-algorithm", "ed25519"], "") else { return };
    let key = SecretKey::from_pem(&plain).unwrap();
    let pass = format!("pass:{PASSPHRASE}");
    let by: [&[&str]; 5] = [
        &["pkey", "-aes256", "-passout", &pass],
        &["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-passout", &pass],
        &["pkcs8", "-topk8", "-v2prf", "hmacWithSHA512", "-passout", &pass],
        &["pkcs8", "-topk8", "-iter", "100000", "-passout", &pass],
        &["pkcs8", "-topk8", "-scrypt", "-passout", &pass],
    ];
    for args in by {
        let theirs = openssl(args, &plain).unwrap();
        let read = SecretKey::from_sealed_pem(&theirs, &passphrase(PASSPHRASE)).unwrap();
        assert_eq!(read.did(), key.did(), "{args:?}");
        let wrong = SecretKey::from_sealed_pem(&theirs, &passphrase("another")).unwrap_err();
        assert_eq!(wrong, KeyError::WrongPassphrase, "{args:?}");
    }
}

#[test]
fn keys_of_other_kinds_are_named() {
    let refused = |pem: &str| match SecretKey::from_pem(pem).unwrap_err() {
        KeyError::WrongKind(what) => what,
        other => panic!("{other:?}"),
    };
    for (label, what) in [
        ("RSA PRIVATE KEY", "an RSA key"),
        ("EC PRIVATE KEY", "an elliptic-curve (ECDSA) key"),
        ("OPENSSH PRIVATE KEY", "a key in OpenSSH's own format"),
        ("PUBLIC KEY", "a public key"),
        ("CERTIFICATE", "a \"CERTIFICATE\""),
    ] {
        assert_eq!(refused(&format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")), what);
    }
    let kinds: [(&[&str], &str); 4] = [
        (&["genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024"], "an RSA key"),
        (
            &["genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "an elliptic-curve (ECDSA) key",
        ),
        (&["genpkey", "-algorithm", "x25519"], "an X25519 key"),
        (&["genpkey", "-algorithm", "ed448"], "an Ed448 key"),
    ];
    for (args, what) in kinds {
        let Some(pem) = openssl(args, "") else { return };
        assert_eq!(refused(&pem), what);
        let pass = format!("pass:{PASSPHRASE}");
        let theirs = openssl(&["pkcs8", "-topk8", "-passout", &pass], &pem).unwrap();
        let error = SecretKey::from_sealed_pem(&theirs, &passphrase(PASSPHRASE)).unwrap_err();
        assert_eq!(error, KeyError::WrongKind(what.to_owned()));
    }
}

#[test]
fn a_file_says_whose_key_it_holds_and_whether_it_is_sealed() {
    let did = Some(author().did());
    assert_eq!(KeyText::of(&author().to_pem()).unwrap(), KeyText { sealed: false, did });
    assert_eq!(KeyText::of(&sealed()).unwrap(), KeyText { sealed: true, did });
    let bare = sealed().lines().skip(1).map(|l| format!("{l}\n")).collect::<String>();
    assert_eq!(KeyText::of(&bare).unwrap(), KeyText { sealed: true, did: None });
    assert_eq!(SecretKey::from_sealed_pem(&bare, &passphrase(PASSPHRASE)).unwrap().did(), author().did());
}

#[test]
fn a_key_under_another_s_name_is_refused() {
    let stranger = SecretKey::from_seed(&[9; 32]).did();
    let swap = |text: &str| text.replace(&author().did().to_string(), &stranger.to_string());
    let other = KeyError::OtherKey { said: stranger, held: author().did() };
    assert_eq!(SecretKey::from_pem(&swap(&author().to_pem())).unwrap_err(), other);
    let error = SecretKey::from_sealed_pem(&swap(&sealed()), &passphrase(PASSPHRASE)).unwrap_err();
    assert_eq!(error, other);
}

#[test]
fn sealed_and_plain_are_not_mistaken_for_each_other() {
    assert_eq!(SecretKey::from_pem(&sealed()).unwrap_err(), KeyError::Sealed);
    let error = SecretKey::from_sealed_pem(&author().to_pem(), &passphrase(PASSPHRASE)).unwrap_err();
    assert_eq!(error, KeyError::NotSealed);
}

#[test]
fn a_wrong_passphrase_says_so() {
    for wrong in ["", "correct horse batterz", "Correct horse battery", "correct horse battery "] {
        let error = SecretKey::from_sealed_pem(&sealed(), &passphrase(wrong)).unwrap_err();
        assert_eq!(error, KeyError::WrongPassphrase, "{wrong:?}");
    }
}

#[test]
fn neither_the_seed_nor_the_passphrase_is_printed() {
    let (key, pass) = (author(), passphrase(PASSPHRASE));
    let printed = format!("{key:?} {pass:?} {}", sealed());
    assert!(!printed.contains(PASSPHRASE));
    assert!(!printed.contains(&BASE64.encode(&key.seed())));
}

/// A damaged file is refused, or the damage is where nothing depends on it and the key is the right one.
#[test]
fn damage_never_gives_another_key() {
    let plain = author().to_pem();
    for i in 0..plain.len() {
        for bit in 0..8 {
            let mut bytes = plain.as_bytes().to_vec();
            bytes[i] ^= 1 << bit;
            let read = String::from_utf8(bytes).ok().and_then(|t| SecretKey::from_pem(&t).ok());
            assert!(read.is_none_or(|k| k.did() == author().did()), "bit {bit} of byte {i}");
        }
        let cut = SecretKey::from_pem(&plain[..i]);
        assert!(cut.is_err() || i + 1 == plain.len(), "cut to {i} bytes");
    }
    // Unsealing takes a while: one bit of each eighth byte.
    let sealed = sealed();
    for i in (0..sealed.len()).step_by(8) {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[i] ^= 1;
        let text = String::from_utf8(bytes).unwrap();
        let read = SecretKey::from_sealed_pem(&text, &passphrase(PASSPHRASE));
        assert!(read.is_err() || i < "did:".len(), "byte {i}: {read:?}");
        assert!(SecretKey::from_sealed_pem(&sealed[..i], &passphrase(PASSPHRASE)).is_err());
    }
}

/// A file that asks for these parameters; its ciphertext is never looked at.
fn asking(kdf_oid: &[u8], kdf_parameters: &[u8]) -> String {
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128);
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }
    let pbes2 = der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]);
    let kdf = der(0x30, &[der(6, kdf_oid), der(0x30, kdf_parameters)].concat());
    let aes = der(6, &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a]);
    let aes = der(0x30, &[aes, der(4, &[1; 16])].concat());
    let scheme = der(0x30, &[pbes2, der(0x30, &[kdf, aes].concat())].concat());
    let all = [scheme, der(4, &[2; 64])].concat();
    let all = [&[0x30, 0x81, u8::try_from(all.len()).unwrap()], &all[..]].concat();
    let base64 = BASE64.encode(&all);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

fn integer(n: u64) -> Vec<u8> {
    let bytes = n.to_be_bytes();
    let skip = bytes.iter().take(7).take_while(|b| **b == 0).count();
    let mut content = bytes[skip..].to_vec();
    if content[0] & 0x80 != 0 {
        content.insert(0, 0);
    }
    [&[2, u8::try_from(content.len()).unwrap()], &content[..]].concat()
}

#[test]
fn a_file_that_costs_too_much_is_refused_at_once() {
    let salt = [&[4, 8], &[3; 8][..]].concat();
    let scrypt = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b];
    let pbkdf2 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
    let by_scrypt = |n, r, p| asking(&scrypt, &[salt.clone(), integer(n), integer(r), integer(p)].concat());
    let by_pbkdf2 = |n| {
        let sha256 = [0x30, 12, 6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09, 5, 0];
        asking(&pbkdf2, &[salt.clone(), integer(n), sha256.to_vec()].concat())
    };
    let hostile = [
        by_scrypt(1 << 18, 8, 2),
        by_scrypt(1 << 62, 8, 1),
        by_scrypt(1 << 63, 65_535, 65_535),
        by_scrypt(2, 65_535, 65_535),
        by_scrypt(1 << 14, 8, 65_535),
        by_scrypt(0, 8, 1),
        by_scrypt(1, 8, 1),
        by_scrypt(12_345, 8, 1),
        by_scrypt(1 << 14, 0, 1),
        by_scrypt(1 << 14, 8, 0),
        by_pbkdf2(u64::from(MAX_PBKDF2_ITERATIONS) + 1),
        by_pbkdf2(100_000_000),
        by_pbkdf2(0),
    ];
    for (i, text) in hostile.iter().enumerate() {
        let begun = Instant::now();
        let error = SecretKey::from_sealed_pem(text, &passphrase(PASSPHRASE)).unwrap_err();
        assert!(matches!(error, KeyError::Method(_)), "{i}: {error:?}");
        assert!(begun.elapsed() < Duration::from_millis(200), "{i}: {:?}", begun.elapsed());
    }
    // The same files with what is allowed get as far as the passphrase.
    for text in [by_scrypt(1 << 10, 8, 1), by_pbkdf2(2_048)] {
        let error = SecretKey::from_sealed_pem(&text, &passphrase(PASSPHRASE)).unwrap_err();
        assert_eq!(error, KeyError::WrongPassphrase);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for text in ["", "did:key:z6Mk", "-----BEGIN PRIVATE KEY-----", &"x".repeat(1 << 20)] {
        assert!(matches!(SecretKey::from_pem(text), Err(KeyError::NotPem(_))), "{text:.40}");
    }
    let damaged = author().to_pem().replacen("did:key:z6", "did:key:z7", 1);
    assert!(matches!(SecretKey::from_pem(&damaged), Err(KeyError::NotDidKey(_) | KeyError::BadKey)));
}

/// Version 2 of PKCS#8, which carries the public half, as this home's first keys were written.
#[test]
fn keys_with_their_public_half_are_read() {
    let old = "-----BEGIN PRIVATE KEY-----\n\
        MFECAQEwBQYDK2VwBCIEIGDcUrvWuDGi+CLDiVloIhvi2+ZCFzkLlm1Xq2ykrSWh\n\
        gSEAnx3MJWpQ8nEEzAL/D8ADMrWj9YiGRd9Pz0Dz347wuVk=\n\
        -----END PRIVATE KEY-----\n";
    let did = "did:key:z6MkqAPDrXYDjwdzzE1UZRqonuXxpEJbyZyaWezfvS3F9tEU";
    assert_eq!(SecretKey::from_pem(old).unwrap().did().to_string(), did);
    assert!(SecretKey::from_pem(&old.replace("gSEAnx", "gSEAny")).is_err());
}

#[test]
fn passphrases_are_bounded() {
    assert_eq!(Passphrase::chosen("1234567".into()), Err(PassphraseError::TooShort));
    assert!(Passphrase::chosen("Grüße, 名".into()).is_ok());
    assert!(Passphrase::given("x".repeat(Passphrase::MAX_BYTES)).is_ok());
    assert_eq!(Passphrase::given("x".repeat(Passphrase::MAX_BYTES + 1)), Err(PassphraseError::TooLong));
}

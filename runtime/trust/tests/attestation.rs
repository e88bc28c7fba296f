//! What a TPM quoted over a receipt holds for that receipt alone, by that key alone, as it was signed.
//!
//! The files of `tpm2/` were captured from swtpm 0.7.1 with tpm2-tools 5.4: a quote of PCRs 0, 7 and 16 over `receipt.cbor` by two
//! keys of one TPM, what the first signs that is no quote, its bytes signed by a key that signs anything, and an RSA key.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{Attestation, Receipt, SecretKey, Signed, Tpm2Quote};
use actum_trust::*;
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use proptest::prelude::*;
use std::collections::BTreeMap;

const RECEIPT: &[u8] = include_bytes!("tpm2/receipt.cbor");
const PUBLIC: &[u8] = include_bytes!("tpm2/public");
const ATTEST: &[u8] = include_bytes!("tpm2/attest");
const SIGNATURE: &[u8] = include_bytes!("tpm2/signature");
const OTHER_PUBLIC: &[u8] = include_bytes!("tpm2/other.public");
const OTHER_ATTEST: &[u8] = include_bytes!("tpm2/other.attest");
const OTHER_SIGNATURE: &[u8] = include_bytes!("tpm2/other.signature");
const CERTIFY_ATTEST: &[u8] = include_bytes!("tpm2/certify.attest");
const CERTIFY_SIGNATURE: &[u8] = include_bytes!("tpm2/certify.signature");
const FREE_PUBLIC: &[u8] = include_bytes!("tpm2/free.public");
const FREE_SIGNATURE: &[u8] = include_bytes!("tpm2/free.signature");
const RSA_PUBLIC: &[u8] = include_bytes!("tpm2/rsa.public");

/// As `tpm2_readpublic` printed it.
const NAME: &str = "000b9d923cdfd2289148ba384422a9f893654be23966a9baee7ef2738aa383e054d9";
/// As `tpm2_pcrread` printed it.
const PCR_16: &str = "46059C9C0D64C83CF679AF3C1DC6965DC40D746B3CE6B451BF84A21703D89595";

fn receipt() -> Signed<Receipt> {
    Signed::verify(RECEIPT).unwrap()
}

fn evidence(attest: &[u8], signature: &[u8], public: &[u8]) -> Vec<u8> {
    let bytes = |part: &[u8]| part.to_vec().into();
    Tpm2Quote { attest: bytes(attest), signature: bytes(signature), public: bytes(public) }.bytes()
}

fn quoted() -> Vec<u8> {
    evidence(ATTEST, SIGNATURE, PUBLIC)
}

fn trusting(names: &[&str]) -> Tpm2 {
    Tpm2 { trusted: names.iter().map(|name| name.parse().unwrap()).collect(), pcrs: BTreeMap::new() }
}

fn pinned(pcrs: &[(u8, &str)]) -> Tpm2 {
    let zero = "0".repeat(64);
    let value = |text: &str| pcr_value(if text.is_empty() { &zero } else { text }).unwrap();
    let pcrs = pcrs.iter().map(|(number, text)| (*number, value(text))).collect();
    Tpm2 { pcrs, ..trusting(&[NAME]) }
}

fn verify(verifier: &Tpm2, evidence: &[u8]) -> Result<Attested, AttestationError> {
    let attestation = Attestation::new(receipt().id(), Tpm2Quote::FORMAT, evidence.to_vec()).unwrap();
    attested(&[verifier], &attestation, &receipt(), 0)
}

#[track_caller]
fn refused(verifier: &Tpm2, evidence: &[u8], why: &str) -> AttestationError {
    let error = verify(verifier, evidence).unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
    error
}

#[test]
fn a_real_quote_over_the_receipt_holds_by_the_key_s_name() {
    let held = verify(&trusting(&[NAME]), &quoted()).unwrap();
    assert_eq!(held, Attested { format: "tpm2-quote@1", by: format!("TPM {NAME}") });
    assert_eq!(trusting(&[]).claims(&quoted()).unwrap(), held.by);
    let other = evidence(OTHER_ATTEST, OTHER_SIGNATURE, OTHER_PUBLIC);
    let name = AkName::of(OTHER_PUBLIC).unwrap().to_string();
    assert_eq!(verify(&trusting(&[NAME, &name]), &other).unwrap().by, format!("TPM {name}"));
}

#[test]
fn another_key_is_sound_and_not_trusted() {
    let other = evidence(OTHER_ATTEST, OTHER_SIGNATURE, OTHER_PUBLIC);
    assert!(refused(&trusting(&[NAME]), &other, "is not trusted here").is_sound());
    assert!(refused(&trusting(&[]), &quoted(), NAME).is_sound());
    // Not by the trusted key's public area beside it, nor the other way round.
    let lent = evidence(OTHER_ATTEST, OTHER_SIGNATURE, PUBLIC);
    assert!(!refused(&trusting(&[NAME]), &lent, "signature is not that key's").is_sound());
    refused(&trusting(&[NAME]), &evidence(ATTEST, OTHER_SIGNATURE, PUBLIC), "signature is not that key's");
    refused(&trusting(&[NAME]), &evidence(ATTEST, SIGNATURE, OTHER_PUBLIC), "signature is not that key's");
}

#[test]
fn a_quote_of_another_receipt() {
    let payload = Receipt { fuel: receipt().payload().fuel + 1, ..receipt().into_payload() };
    let other = Signed::sign(
        Receipt { iss: SecretKey::from_seed(&[9; 32]).did(), ..payload },
        &SecretKey::from_seed(&[9; 32]),
    );
    // The attestation says so itself.
    let attestation = Attestation::new(receipt().id(), Tpm2Quote::FORMAT, quoted()).unwrap();
    let error = attested(&[&trusting(&[NAME])], &attestation, &other, 0).unwrap_err();
    assert!(matches!(error, AttestationError::OtherReceipt { of } if of == receipt().id()), "{error}");
    // It lies, and the quote does not.
    let attestation = Attestation::new(other.id(), Tpm2Quote::FORMAT, quoted()).unwrap();
    let error = attested(&[&trusting(&[NAME])], &attestation, &other, 0).unwrap_err();
    assert!(matches!(error, AttestationError::OtherDigest), "{error}");
}

#[test]
fn what_is_no_quote_or_no_key_that_attests() {
    let trusted = trusting(&[NAME]);
    let certified = evidence(CERTIFY_ATTEST, CERTIFY_SIGNATURE, PUBLIC);
    refused(&trusted, &certified, "its type is 0x8017, where 0x8018 is wanted");
    // Such a key would sign whatever looks like a quote.
    let free = evidence(ATTEST, FREE_SIGNATURE, FREE_PUBLIC);
    refused(&trusted, &free, "the key is not restricted");
    refused(&trusted, &evidence(ATTEST, SIGNATURE, RSA_PUBLIC), "its type is 0x1, where 0x23 is wanted");
    // Bytes 6 to 9 are the attributes.
    for (byte, bit, why) in [
        (9, 0x02, "not fixedTPM"),
        (9, 0x10, "not fixedParent"),
        (9, 0x20, "not sensitiveDataOrigin"),
        (7, 0x01, "not restricted"),
        (7, 0x04, "not sign"),
        (7, 0x02, "decrypts"),
    ] {
        let mut public = PUBLIC.to_vec();
        public[byte] ^= bit;
        refused(&trusted, &evidence(ATTEST, SIGNATURE, &public), why);
    }
    let mut attest = ATTEST.to_vec();
    attest[0] = 0;
    refused(&trusted, &evidence(&attest, SIGNATURE, PUBLIC), "its magic is");
}

#[test]
fn the_registers_that_are_asked_for_with_the_values_that_are_asked_for() {
    let all = [(0, ""), (7, ""), (16, PCR_16)];
    verify(&pinned(&all), &quoted()).unwrap();
    for other in [&all[..2], &[(0, ""), (7, ""), (15, PCR_16)], &[(0, ""), (1, ""), (7, ""), (16, PCR_16)]] {
        assert!(
            refused(&pinned(other), &quoted(), "over PCRs sha256:0,sha256:7,sha256:16, where").is_sound()
        );
    }
    for other in [[(0, ""), (7, ""), (16, "")], [(0, PCR_16), (7, ""), (16, "")]] {
        assert!(refused(&pinned(&other), &quoted(), "other values").is_sound());
    }
}

/// A quote that somebody without a TPM made up, signed well: sound, and of a key that nobody has a reason to trust.
fn made_up(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let key = SigningKey::from_slice(&[5; 32]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let mut public = PUBLIC.to_vec();
    // Two coordinates, each with its length in front.
    public[24..56].copy_from_slice(&point.as_bytes()[1..33]);
    public[58..90].copy_from_slice(&point.as_bytes()[33..]);
    let mut attest = ATTEST.to_vec();
    change(&mut attest);
    let signature: Signature = key.sign(&attest);
    let mut signed = SIGNATURE.to_vec();
    signed[6..38].copy_from_slice(&signature.to_bytes()[..32]);
    signed[40..72].copy_from_slice(&signature.to_bytes()[32..]);
    evidence(&attest, &signed, &public)
}

#[test]
fn structures_that_are_signed_and_not_what_they_must_be() {
    let none = trusting(&[]);
    assert!(refused(&none, &made_up(|_| {}), "is not trusted here").is_sound());
    refused(&none, &made_up(|a| a.push(0)), "1 bytes follow it");
    refused(&none, &made_up(|a| a.truncate(a.len() - 1)), "cut short");
    refused(&none, &made_up(|a| a[44] ^= 1), "over something else than this receipt");
    // `safe` is yes or no; there are so many banks at most, and a map of so many bytes.
    refused(&none, &made_up(|a| a[92] = 2), "its safe is 0x2");
    refused(&none, &made_up(|a| a[101..105].copy_from_slice(&17_u32.to_be_bytes())), "too long");
    refused(&none, &made_up(|a| a[107] = 5), "too long");
    // A digest longer than any.
    refused(&none, &made_up(|a| a[6..8].copy_from_slice(&67_u16.to_be_bytes())), "too long");
}

#[test]
fn no_evidence_with_a_bit_changed_holds() {
    let trusted = trusting(&[NAME]);
    let all = quoted();
    for bit in 0..all.len() * 8 {
        let mut changed = all.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&trusted, &changed).is_err(), "bit {bit}");
    }
    for end in 0..all.len() {
        assert!(verify(&trusted, &all[..end]).is_err(), "cut to {end}");
    }
    // The same inside each structure, with the evidence around it made anew.
    for (n, part) in [ATTEST, SIGNATURE, PUBLIC].into_iter().enumerate() {
        for end in 0..part.len() {
            let mut parts = [ATTEST, SIGNATURE, PUBLIC];
            parts[n] = &part[..end];
            assert!(verify(&trusted, &evidence(parts[0], parts[1], parts[2])).is_err(), "{n} cut to {end}");
        }
    }
}

#[test]
fn a_format_that_nobody_knows() {
    let attestation = Attestation::new(receipt().id(), "sgx-quote@3", quoted()).unwrap();
    let error = attested(&[&trusting(&[NAME])], &attestation, &receipt(), 0).unwrap_err();
    assert!(matches!(error, AttestationError::UnknownFormat { .. }), "{error}");
}

#[test]
fn names_are_read_as_they_are_written() {
    let name: AkName = NAME.parse().unwrap();
    assert_eq!(name, AkName::of(PUBLIC).unwrap());
    assert_eq!(name.to_string(), NAME);
    for text in
        ["", "000b", &NAME[..67], &format!("{NAME}0"), &NAME.replace("000b", "000c"), &NAME.replace('d', "g")]
    {
        assert!(text.parse::<AkName>().is_err(), "{text}");
    }
    assert!(pcr_value(&"é".repeat(32)).is_none());
}

proptest! {
    /// Strangers' bytes are refused and nothing worse.
    #[test]
    fn any_bytes_are_refused(attest in any::<Vec<u8>>(), signature in any::<Vec<u8>>(), public in any::<Vec<u8>>()) {
        let trusted = trusting(&[NAME]);
        for evidence in [
            evidence(&attest, SIGNATURE, PUBLIC),
            evidence(ATTEST, &signature, PUBLIC),
            evidence(ATTEST, SIGNATURE, &public),
            attest.clone(),
        ] {
            prop_assert!(trusted.verify(&evidence, &receipt(), 0).is_err());
        }
    }

    /// Behind what is right, anything is too much or too little.
    #[test]
    fn nothing_may_follow(tail in prop::collection::vec(any::<u8>(), 1..40)) {
        let more = |part: &[u8]| [part, &tail].concat();
        let trusted = trusting(&[NAME]);
        for evidence in [
            evidence(&more(ATTEST), SIGNATURE, PUBLIC),
            evidence(ATTEST, &more(SIGNATURE), PUBLIC),
            evidence(ATTEST, SIGNATURE, &more(PUBLIC)),
        ] {
            prop_assert!(trusted.verify(&evidence, &receipt(), 0).is_err());
        }
    }
}

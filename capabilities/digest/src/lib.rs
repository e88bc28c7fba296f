//! `actum:digest`: checksums and digests of bytes.

actum_guest::capability! {
    wit: "../../wit/digest",
    implement: Digests,
}

use bindings::exports::actum::digest::digest::{Algorithm, Checksum, Failure, Guest};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

struct Digests;

impl Guest for Digests {
    fn sha256(data: Vec<u8>) -> String {
        compute(&data, Algorithm::Sha256)
    }

    fn checksums(data: Vec<u8>, algorithms: Vec<Algorithm>) -> Vec<Checksum> {
        algorithms
            .into_iter()
            .map(|algorithm| Checksum { algorithm, hex: compute(&data, algorithm) })
            .collect()
    }

    fn verify(data: Vec<u8>, expected: String) -> Result<Algorithm, Failure> {
        let expected = expected.trim();
        let unreadable = || Failure::Unreadable(u32::try_from(expected.chars().count()).unwrap_or(u32::MAX));
        if !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unreadable());
        }
        let algorithm = match expected.len() {
            8 => Algorithm::Crc32,
            40 => Algorithm::Sha1,
            64 => Algorithm::Sha256,
            128 => Algorithm::Sha512,
            _ => return Err(unreadable()),
        };
        let hex = compute(&data, algorithm);
        if hex.eq_ignore_ascii_case(expected) {
            Ok(algorithm)
        } else {
            Err(Failure::Mismatch(Checksum { algorithm, hex }))
        }
    }
}

fn compute(data: &[u8], algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::Crc32 => hex(&crc32fast::hash(data).to_be_bytes()),
        Algorithm::Sha1 => hex(&Sha1::digest(data)),
        Algorithm::Sha256 => hex(&Sha256::digest(data)),
        Algorithm::Sha512 => hex(&Sha512::digest(data)),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn published_vectors() {
        assert_eq!(Digests::sha256(b"abc".to_vec()), SHA256_ABC);
        let all = [Algorithm::Crc32, Algorithm::Sha1, Algorithm::Sha512];
        let found = Digests::checksums(b"abc".to_vec(), all.to_vec());
        assert_eq!(found[0].hex, "352441c2");
        assert_eq!(found[1].hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(found[2].hex.starts_with("ddaf35a193617abacc417349ae204131") && found[2].hex.len() == 128);
    }

    #[test]
    fn megabytes_are_fine() {
        let million = vec![b'a'; 1_000_000];
        assert_eq!(
            Digests::sha256(million),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
    }

    #[test]
    fn verifies_by_the_digests_length() {
        let verify = |expected: &str| Digests::verify(b"abc".to_vec(), expected.to_owned());
        assert!(matches!(verify(&SHA256_ABC.to_uppercase()), Ok(Algorithm::Sha256)));
        assert!(matches!(verify(" 352441c2\n"), Ok(Algorithm::Crc32)));
        assert!(matches!(verify("352441c3"), Err(Failure::Mismatch(found)) if found.hex == "352441c2"));
        assert!(matches!(verify("abc"), Err(Failure::Unreadable(3))));
        assert!(matches!(verify("no hex !"), Err(Failure::Unreadable(8))));
    }
}

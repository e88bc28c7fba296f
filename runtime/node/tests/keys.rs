//! The home's key: nobody else reads it, nothing replaces it but what was asked for, and a line of keys is proven.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use actum_model::{DelegationId, Passphrase, Rotation, SecretKey, Signed, key::KeyError, ucan::Command};
use actum_node::{
    Home, HomeError,
    keyring::{self, KeyFile},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const NOW: u64 = 1_790_000_000;

fn home() -> (TempDir, Home) {
    let temp = TempDir::new().unwrap();
    let home = Home::open(&temp.path().join("home")).unwrap();
    (temp, home)
}

fn again(home: &Home) -> Home {
    Home::open(home.root()).unwrap()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::chosen(text.to_owned()).unwrap()
}

fn key_file(home: &Home) -> PathBuf {
    home.root().join("key.pem")
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_what_is_secret() {
    let (_temp, home) = home();
    home.sandbox().unwrap();
    keyring::seal(&home, &passphrase("correct horse")).unwrap();
    keyring::unseal(&home).unwrap();
    assert_eq!(mode_of(home.root()), 0o700);
    for secret in ["key.pem", "cache.key"] {
        assert_eq!(mode_of(&home.root().join(secret)), 0o600, "{secret}");
    }
    keyring::rotate(&home, BTreeSet::new(), NOW, None).unwrap();
    assert_eq!((mode_of(&key_file(&home)), mode_of(&home.root().join("keys"))), (0o600, 0o700));
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    let (_temp, home) = home();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o610, 0o601] {
        set_mode(&key_file(&home), mode);
        match Home::open(home.root()).map(|h| h.did()) {
            Err(HomeError::KeyExposed { path, mode: found }) => {
                assert_eq!((path, found), (key_file(&home), mode));
            }
            other => panic!("{mode:o}: {other:?}"),
        }
        let read = KeyFile::read(&key_file(&home)).map(|_| ());
        assert!(matches!(read, Err(HomeError::KeyExposed { .. })), "{read:?}");
    }
    set_mode(&key_file(&home), 0o600);
    assert_eq!(again(&home).did(), home.did());
}

#[cfg(unix)]
#[test]
fn a_cache_key_that_others_could_read_is_replaced() {
    let (_temp, home) = home();
    home.sandbox().unwrap();
    let path = home.root().join("cache.key");
    let before = fs::read(&path).unwrap();
    set_mode(&path, 0o644);
    again(&home).sandbox().unwrap();
    assert_ne!(fs::read(&path).unwrap(), before);
    assert_eq!(mode_of(&path), 0o600);
}

#[test]
fn a_sealed_key_is_known_and_locked() {
    let (_temp, home) = home();
    let pass = passphrase("correct horse");
    keyring::seal(&home, &pass).unwrap();
    let text = fs::read_to_string(key_file(&home)).unwrap();
    assert!(text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");

    let locked = again(&home);
    assert_eq!((locked.did(), locked.is_sealed()), (home.did(), true));
    assert!(matches!(locked.key(), Err(HomeError::Locked { .. })));
    assert!(matches!(keyring::unseal(&locked), Err(HomeError::Locked { .. })));
    assert!(matches!(keyring::seal(&locked, &pass), Err(HomeError::Locked { .. })));
    match locked.unlock(&passphrase("correct house")) {
        Err(HomeError::BadKey { source: KeyError::WrongPassphrase, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(locked.key().is_err());
    locked.unlock(&pass).unwrap();
    assert_eq!(locked.key().unwrap().did(), home.did());

    let other = passphrase("another horse");
    keyring::seal(&locked, &other).unwrap();
    assert!(again(&home).unlock(&pass).is_err());
    let home = again(&home);
    home.unlock(&other).unwrap();
    keyring::unseal(&home).unwrap();
    assert!(!again(&home).is_sealed());
    assert_eq!(again(&home).key().unwrap().did(), home.did());
}

#[test]
fn a_sealed_key_under_another_s_name_does_not_unlock() {
    let (_temp, home) = home();
    let pass = passphrase("correct horse");
    keyring::seal(&home, &pass).unwrap();
    let stranger = SecretKey::from_seed(&[9; 32]).did();
    let text = fs::read_to_string(key_file(&home)).unwrap();
    fs::write(key_file(&home), text.replace(&home.did().to_string(), &stranger.to_string())).unwrap();
    let swapped = again(&home);
    match swapped.unlock(&pass) {
        Err(HomeError::BadKey { source: KeyError::OtherKey { said, held }, .. }) => {
            assert_eq!((said, held), (stranger, home.did()));
        }
        other => panic!("{other:?}"),
    }
    // And one that names nobody is not guessed at.
    fs::write(key_file(&home), text.split_once('\n').unwrap().1).unwrap();
    assert!(matches!(Home::open(home.root()).map(|_| ()), Err(HomeError::NamelessKey { .. })));
}

#[test]
fn an_import_replaces_nothing_unasked_and_loses_nothing() {
    let (temp, home) = home();
    let (mine, theirs) = (home.did(), SecretKey::from_seed(&[7; 32]));
    let refused = keyring::import(home.root(), &theirs, None, false);
    assert!(matches!(refused, Err(HomeError::HasKey { .. })), "{refused:?}");
    assert_eq!(again(&home).did(), mine);

    let aside = keyring::import(home.root(), &theirs, None, true).unwrap().expect("the old key");
    assert_eq!(again(&home).did(), theirs.did());
    assert_eq!(KeyFile::read(&aside).unwrap().open(None).unwrap().did(), mine);
    let back = KeyFile::read(&aside).unwrap().open(None).unwrap();
    let second = keyring::import(home.root(), &back, None, true).unwrap().unwrap();
    let third = keyring::import(home.root(), &theirs, None, true).unwrap().unwrap();
    assert!(second != third && third != aside && aside.exists());

    let pass = passphrase("correct horse");
    let fresh = temp.path().join("fresh");
    assert_eq!(keyring::import(&fresh, &theirs, Some(&pass), false).unwrap(), None);
    let fresh = Home::open(&fresh).unwrap();
    assert_eq!((fresh.did(), fresh.is_sealed()), (theirs.did(), true));
    fresh.unlock(&pass).unwrap();
}

#[test]
fn a_home_that_was_opened_before_changes_no_key_that_came_after() {
    let (_temp, home) = home();
    keyring::import(home.root(), &SecretKey::from_seed(&[7; 32]), None, true).unwrap();
    let pass = passphrase("correct horse");
    assert!(matches!(keyring::seal(&home, &pass), Err(HomeError::KeyChanged { .. })));
    assert!(matches!(keyring::file_of(&home).map(|_| ()), Err(HomeError::KeyChanged { .. })));
    let rotated = keyring::rotate(&home, BTreeSet::new(), NOW, None);
    assert!(matches!(rotated, Err(HomeError::KeyChanged { .. })));
    assert_eq!(again(&home).did(), SecretKey::from_seed(&[7; 32]).did());
}

#[test]
fn a_new_file_is_never_over_another() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("out.pem");
    keyring::write_new(&path, "one").unwrap();
    assert!(keyring::write_new(&path, "two").is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    #[cfg(unix)]
    assert_eq!(mode_of(&path), 0o600);
}

#[test]
fn rotations_make_a_line() {
    let (_temp, home) = home();
    let grant = DelegationId::of(b"a grant");
    let first = keyring::rotate(&home, [grant].into(), NOW, None).unwrap();
    let b = again(&home);
    let second = keyring::rotate(&b, BTreeSet::new(), NOW + 1, None).unwrap();
    let c = again(&b);
    assert_eq!((b.did(), c.did()), (first.new, second.new));
    let line: Vec<_> = c.former().iter().map(|f| f.did).collect();
    assert_eq!(line, [home.did(), b.did()]);
    for (made, old, new) in [(&first, home.did(), b.did()), (&second, b.did(), c.did())] {
        let rotation = Signed::<Rotation>::verify(made.rotation.bytes()).unwrap().into_payload();
        assert_eq!((rotation.iss, rotation.to), (old, new));
        assert!(rotation.keep.contains(&made.powerline.id()));
        let powerline = made.powerline.payload();
        assert_eq!((powerline.iss, powerline.aud, powerline.sub, powerline.exp), (old, new, None, None));
        assert_eq!(powerline.cmd, Command::top());
    }
    assert!(first.rotation.payload().keep.contains(&grant));
    assert!(!second.rotation.payload().keep.contains(&grant));

    // Nothing of the old keys is left.
    for entry in fs::read_dir(home.root()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(!text.contains("PRIVATE KEY") || path == key_file(&home), "{}", path.display());
    }
}

#[test]
fn a_key_that_was_handed_over_stays_so() {
    let (_temp, home) = home();
    let old = SecretKey::from_seed(&home.key().unwrap().seed());
    keyring::rotate(&home, BTreeSet::new(), NOW, None).unwrap();
    let refused = keyring::import(home.root(), &old, None, true);
    assert!(matches!(refused, Err(HomeError::HandedOver { did, .. }) if did == old.did()), "{refused:?}");
    // Nor when somebody puts it there by hand.
    fs::write(key_file(&home), old.to_pem().as_bytes()).unwrap();
    let refused = keyring::rotate(&again(&home), BTreeSet::new(), NOW + 1, None);
    assert!(matches!(refused, Err(HomeError::HandedOver { .. })), "{refused:?}");
}

#[test]
fn a_sealed_home_rotates_by_its_own_passphrase_alone() {
    let (_temp, home) = home();
    let pass = passphrase("correct horse");
    keyring::seal(&home, &pass).unwrap();
    let home = again(&home);
    for wrong in [None, Some(&passphrase("correct house"))] {
        let refused = keyring::rotate(&home, BTreeSet::new(), NOW, wrong);
        assert!(matches!(refused, Err(HomeError::BadKey { .. })), "{refused:?}");
    }
    let made = keyring::rotate(&home, BTreeSet::new(), NOW, Some(&pass)).unwrap();
    let home = again(&home);
    assert_eq!((home.did(), home.is_sealed()), (made.new, true));
    home.unlock(&pass).unwrap();
}

#[test]
fn too_many_delegations_are_not_kept_and_nothing_happens() {
    let (_temp, home) = home();
    let keep = (0..Rotation::MAX_KEPT).map(|i| DelegationId::of(&i.to_be_bytes())).collect();
    let refused = keyring::rotate(&home, keep, NOW, None);
    assert!(matches!(refused, Err(HomeError::Rotation { .. })), "{refused:?}");
    assert_eq!((again(&home).did(), again(&home).former().len()), (home.did(), 0));
}

#[test]
fn a_broken_line_is_an_error_that_names_the_file() {
    let (_temp, home) = home();
    let made = keyring::rotate(&home, BTreeSet::new(), NOW, None).unwrap();
    let keys = home.root().join("keys");
    let rotation = keys.join(format!("{}.rotation", made.rotation.id()));
    let powerline = keys.join(format!("{}.delegation", made.powerline.id()));
    let broken = || match Home::open(home.root()).map(|h| h.did()) {
        Err(HomeError::Line { path, .. }) => path,
        other => panic!("{other:?}"),
    };
    for file in [&rotation, &powerline] {
        let good = fs::read(file).unwrap();
        let mut bad = good.clone();
        bad[70] ^= 1;
        fs::write(file, &bad).unwrap();
        assert_eq!(&broken(), file);
        fs::write(file, &good[..good.len() - 1]).unwrap();
        assert_eq!(&broken(), file);
        fs::write(file, &good).unwrap();
        let elsewhere = file.with_file_name(format!("bafyx.{}", file.extension().unwrap().to_str().unwrap()));
        fs::rename(file, &elsewhere).unwrap();
        assert_eq!(broken(), elsewhere);
        fs::rename(&elsewhere, file).unwrap();
    }
    let good = fs::read(&powerline).unwrap();
    fs::remove_file(&powerline).unwrap();
    assert_eq!(broken(), keys);
    fs::write(&powerline, good).unwrap();
    assert_eq!(again(&home).former().len(), 1);
    // A rotation of somebody else's is no part of the line.
    let (x, y) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let other = Signed::sign(Rotation::new(&x, &y, NOW, BTreeSet::new()), &x);
    fs::write(keys.join(format!("{}.rotation", other.id())), other.bytes()).unwrap();
    assert_eq!(again(&home).former().len(), 1);
}

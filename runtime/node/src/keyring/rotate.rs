//! Handing over to a new key, and the line of those who did.

use super::{
    KEY, KeyFile, NEXT, STAGED, current, install, io_error, lock, node_lock, put, remove, sync_dir, to_text,
};
use crate::{
    clock,
    home::{Home, HomeError, create_private_dir},
};
use actum_model::{
    Delegation, DelegationId, Did, Passphrase, Rotation, RotationId, SecretKey, Signed, Statement,
    ucan::{Command, Policy},
};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The most files read from `keys/`. A rotation leaves two.
pub const MAX_LINE_FILES: usize = 1_024;

const LINE: &str = "keys";
const ROTATION: &str = "rotation";
const DELEGATION: &str = "delegation";

/// A key that this home had before, and what it signed to hand over to the next.
#[derive(Clone, Debug)]
pub struct Former {
    /// The key.
    pub did: Did,
    /// Its last word, for everybody who knew it.
    pub rotation: Signed<Rotation>,
    /// All it was granted, for its successor to use. The rotation keeps it.
    pub powerline: Signed<Delegation>,
}

/// What a rotation made.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The old key's last word.
    pub rotation: Signed<Rotation>,
    /// All the old key was granted, for the new one to use.
    pub powerline: Signed<Delegation>,
    /// Who the home is now.
    pub new: Did,
}

/// What is done of a rotation. A process may be killed after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The new key is on the medium.
    Successor,
    /// So is the powerline.
    Powerline,
    /// So is the rotation, and it is decided.
    Rotation,
    /// The new key is in use, and the old one is gone.
    Installed,
}

/// Hands over from the home's key to a new one, and destroys the old.
///
/// `keep` are the delegations issued by the old key that stay good; the powerline to the new one comes on top, so there
/// may be [`Rotation::MAX_KEPT`] less one. `now` is in seconds since the Unix epoch. The new key is sealed as the old one
/// was, with the `passphrase` that opens the old one. Open the home again for the new key; every process that has the old
/// one open signs what nobody takes any more. Refused while a node runs here.
///
/// The caller tells whoever needs to know, now and, as this may be cut short, from [`Home::former`] when the home is opened.
pub fn rotate(
    home: &Home,
    keep: BTreeSet<DelegationId>,
    now: u64,
    passphrase: Option<&Passphrase>,
) -> Result<Rotated, HomeError> {
    rotate_by_steps(home, keep, now, passphrase, &mut |_| Ok(()))
}

fn rotate_by_steps(
    home: &Home,
    mut keep: BTreeSet<DelegationId>,
    now: u64,
    passphrase: Option<&Passphrase>,
    after: &mut dyn FnMut(Step) -> Result<(), HomeError>,
) -> Result<Rotated, HomeError> {
    let root = home.root();
    let _no_node = node_lock(root)?.ok_or_else(|| HomeError::NodeRunning { root: root.to_owned() })?;
    let _held = lock(root)?;
    recover(root)?;
    let file = current(root, home.did())?;
    refuse_handed_over(root, home.did())?;
    // Also shows that the passphrase is the old key's: nobody is locked out by a typing error.
    let old = file.open(passphrase)?;
    let new = SecretKey::from_seed(&clock::random());
    let unsigned = |e: actum_model::DecodeError| HomeError::Rotation { why: e.to_string() };

    let powerline = Signed::try_sign(powerline(&old, &new), &old).map_err(unsigned)?;
    keep.insert(powerline.id());
    let rotation = Signed::try_sign(Rotation::new(&old, &new, now, keep), &old).map_err(unsigned)?;
    let line = root.join(LINE);
    create_private_dir(&line)?;
    sync_dir(root)?;

    put(&root.join(NEXT), to_text(&new, passphrase.filter(|_| file.is_sealed())).as_bytes())?;
    sync_dir(root)?;
    after(Step::Successor)?;
    place(&line, &powerline.id().to_string(), DELEGATION, powerline.bytes())?;
    after(Step::Powerline)?;
    place(&line, &rotation.id().to_string(), ROTATION, rotation.bytes())?;
    after(Step::Rotation)?;
    install(root, NEXT)?;
    after(Step::Installed)?;
    Ok(Rotated { rotation, powerline, new: new.did() })
}

/// Everything that others let the old key do, from now on for the new one too.
fn powerline(old: &SecretKey, new: &SecretKey) -> Delegation {
    Delegation {
        iss: old.did(),
        aud: new.did(),
        sub: None,
        cmd: Command::top(),
        pol: Policy::default(),
        nonce: ByteBuf::from(clock::random::<12>()),
        meta: None,
        nbf: None,
        exp: None,
    }
}

fn is_powerline(d: &Delegation, iss: Did, aud: Did) -> bool {
    let whole = d.sub.is_none() && d.cmd == Command::top() && d.pol == Policy::default();
    whole && d.iss == iss && d.aud == aud && d.nbf.is_none() && d.exp.is_none()
}

/// Puts a whole, synced file under its name.
fn place(line: &Path, id: &str, extension: &str, bytes: &[u8]) -> Result<(), HomeError> {
    let path = line.join(format!("{id}.{extension}"));
    let staged = line.join(format!("{id}.{extension}.tmp"));
    put(&staged, bytes)?;
    fs::rename(&staged, &path).map_err(io_error(&path))?;
    sync_dir(line)
}

/// Finishes or forgets what was interrupted. Only under the lock.
pub(super) fn recover(root: &Path) -> Result<(), HomeError> {
    remove(&root.join(STAGED))?;
    let next = root.join(NEXT);
    if !next.try_exists().map_err(io_error(&next))? {
        return Ok(());
    }
    let files = Files::read(root)?;
    let successor = KeyFile::read(&next).ok().and_then(|f| f.did());
    let key = root.join(KEY);
    let decided = match key.try_exists().map_err(io_error(&key))? {
        true => {
            let old = KeyFile::read(&key)?.did();
            let last = files.rotations.iter().find(|r| Some(r.payload().iss) == old).map(|r| r.payload().to);
            if last.is_some() && last != successor {
                let why = "the key was handed over, and this is not its successor, or is damaged".to_owned();
                return Err(HomeError::Line { path: next, why });
            }
            last.is_some()
        }
        // Somebody took the old key away meanwhile.
        false => files.rotations.iter().any(|r| Some(r.payload().to) == successor),
    };
    if decided { install(root, NEXT) } else { remove(&next).and_then(|()| sync_dir(root)) }
}

/// Fails if the key has a successor already: its second rotation would be nobody's first.
pub(super) fn refuse_handed_over(root: &Path, did: Did) -> Result<(), HomeError> {
    let files = Files::read(root)?;
    match files.rotations.iter().find(|r| r.payload().iss == did) {
        Some(r) => Err(HomeError::HandedOver { did, to: r.payload().to }),
        None => Ok(()),
    }
}

/// The keys before `did`, oldest first, each proven to have handed over to the next.
pub(super) fn line(root: &Path, did: Did) -> Result<Vec<Former>, HomeError> {
    let files = Files::read(root)?;
    let broken = |why: String| HomeError::Line { path: root.join(LINE), why };
    let (mut former, mut met, mut last) = (Vec::new(), BTreeSet::from([did]), did);
    loop {
        let mut before = files.rotations.iter().filter(|r| r.payload().to == last);
        let Some(rotation) = before.next() else { break };
        if before.next().is_some() {
            return Err(broken(format!("two rotations lead to {last}")));
        }
        let Rotation { iss, keep, .. } = rotation.payload();
        if !met.insert(*iss) {
            return Err(broken(format!("the line of keys leads back to {iss}")));
        }
        let kept = keep.iter().filter_map(|id| files.delegations.get(id));
        let Some(powerline) = kept.into_iter().find(|d| is_powerline(d.payload(), *iss, last)) else {
            return Err(broken(format!("the delegation from {iss} to {last} is missing")));
        };
        former.push(Former { did: *iss, rotation: rotation.clone(), powerline: powerline.clone() });
        last = *iss;
    }
    former.reverse();
    Ok(former)
}

/// What lies in `keys/`, all of it verified.
#[derive(Default)]
struct Files {
    rotations: Vec<Signed<Rotation>>,
    delegations: BTreeMap<DelegationId, Signed<Delegation>>,
}

impl Files {
    fn read(root: &Path) -> Result<Self, HomeError> {
        let line = root.join(LINE);
        let mut files = Self::default();
        let entries = match fs::read_dir(&line) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            entries => entries.map_err(io_error(&line))?,
        };
        for (n, entry) in entries.enumerate() {
            let path = entry.map_err(io_error(&line))?.path();
            if n >= MAX_LINE_FILES {
                let why = format!("more than {MAX_LINE_FILES} files; move away what is not of the line");
                return Err(HomeError::Line { path: line, why });
            }
            match path.extension().and_then(|e| e.to_str()) {
                Some(ROTATION) => files
                    .rotations
                    .push(signed(&path, |r: &Signed<Rotation>, name: RotationId| r.id() == name)?),
                Some(DELEGATION) => {
                    let read = signed(&path, |d: &Signed<Delegation>, name: DelegationId| d.id() == name)?;
                    files.delegations.insert(read.id(), read);
                }
                _ => {}
            }
        }
        Ok(files)
    }
}

/// Reads a statement that lies under its own id.
fn signed<T: Statement, Id: FromStr>(
    path: &Path,
    is: impl Fn(&Signed<T>, Id) -> bool,
) -> Result<Signed<T>, HomeError> {
    let broken = |why: String| HomeError::Line { path: PathBuf::from(path), why };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io_error(path))?;
    file.take(T::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    let read = Signed::<T>::verify(&bytes).map_err(|e| broken(e.to_string()))?;
    let name = path.file_stem().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
    if name.is_some_and(|id| is(&read, id)) {
        Ok(read)
    } else {
        Err(broken("it is not the statement that its name says".to_owned()))
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is the message"
)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const NOW: u64 = 1_790_000_000;

    /// Rotates and is killed after this step: the locks fall, nothing else is tidied.
    fn killed_after(home: &Home, step: Step, passphrase: Option<&Passphrase>) {
        let killed = || HomeError::Rotation { why: "killed".to_owned() };
        let mut after = |done| if done == step { Err(killed()) } else { Ok(()) };
        let made = rotate_by_steps(home, BTreeSet::new(), NOW, passphrase, &mut after);
        assert!(matches!(made, Err(HomeError::Rotation { .. })), "{made:?}");
    }

    fn secrets(root: &Path) -> Vec<String> {
        let names = fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.starts_with("key.") && n != "key.lock").collect()
    }

    #[test]
    fn killed_at_any_step_the_home_has_the_old_key_or_the_new_one() {
        let passphrase = Passphrase::chosen("correct horse".into()).unwrap();
        for sealed in [false, true] {
            let passphrase = sealed.then_some(&passphrase);
            for step in [Step::Successor, Step::Powerline, Step::Rotation, Step::Installed] {
                let temp = TempDir::new().unwrap();
                let home = Home::open(temp.path()).unwrap();
                let old = home.did();
                if let Some(passphrase) = passphrase {
                    crate::keyring::seal(&home, passphrase).unwrap();
                }
                killed_after(&home, step, passphrase);

                let home = Home::open(temp.path()).unwrap();
                assert_eq!(home.is_sealed(), sealed);
                if let Some(passphrase) = passphrase {
                    home.unlock(passphrase).unwrap();
                }
                assert_eq!(home.key().unwrap().did(), home.did());
                if matches!(step, Step::Successor | Step::Powerline) {
                    assert_eq!((home.did(), home.former().len()), (old, 0), "{step:?}");
                } else {
                    assert_ne!(home.did(), old, "{step:?}");
                    assert_eq!(home.former().iter().map(|f| f.did).collect::<Vec<_>>(), [old]);
                }
                assert_eq!(secrets(temp.path()), [KEY], "{step:?}");

                // And it goes on: the next rotation succeeds from wherever this one stopped.
                let before = home.did();
                let made = rotate(&home, BTreeSet::new(), NOW + 1, passphrase).unwrap();
                let home = Home::open(temp.path()).unwrap();
                assert_eq!((home.did(), home.former().last().unwrap().did), (made.new, before));
            }
        }
    }

    #[test]
    fn a_decided_rotation_whose_successor_is_damaged_is_not_forgotten() {
        let temp = TempDir::new().unwrap();
        let home = Home::open(temp.path()).unwrap();
        killed_after(&home, Step::Rotation, None);
        let next = temp.path().join(NEXT);
        let text = fs::read_to_string(&next).unwrap();
        put(&next, &text.as_bytes()[..text.len() / 2]).unwrap();
        assert!(matches!(Home::open(temp.path()), Err(HomeError::Line { path, .. }) if path == next));
        put(&next, text.as_bytes()).unwrap();
        assert_ne!(Home::open(temp.path()).unwrap().did(), home.did());
    }

    #[test]
    fn an_undecided_successor_is_forgotten_even_if_it_is_half_written() {
        let temp = TempDir::new().unwrap();
        let did = Home::open(temp.path()).unwrap().did();
        for left in [NEXT, STAGED] {
            put(&temp.path().join(left), b"did:key:z6Mk").unwrap();
            assert_eq!(Home::open(temp.path()).unwrap().did(), did);
            assert_eq!(secrets(temp.path()), [KEY]);
        }
    }

    #[test]
    fn who_is_at_it_is_left_alone() {
        let temp = TempDir::new().unwrap();
        let home = Home::open(temp.path()).unwrap();
        let held = lock(temp.path()).unwrap();
        put(&temp.path().join(NEXT), b"being written").unwrap();
        assert_eq!(Home::open(temp.path()).unwrap().did(), home.did());
        assert!(temp.path().join(NEXT).exists());
        let refused = rotate(&home, BTreeSet::new(), NOW, None);
        assert!(matches!(refused, Err(HomeError::KeyBusy { .. })), "{refused:?}");
        drop(held);
        rotate(&home, BTreeSet::new(), NOW, None).unwrap();
    }

    #[test]
    fn a_running_node_keeps_its_key() {
        let temp = TempDir::new().unwrap();
        let home = Home::open(temp.path()).unwrap();
        let node = home.lock_for_node().unwrap().unwrap();
        let refused = rotate(&home, BTreeSet::new(), NOW, None);
        assert!(matches!(refused, Err(HomeError::NodeRunning { .. })), "{refused:?}");
        drop(node);
        rotate(&home, BTreeSet::new(), NOW, None).unwrap();
        // A node that was about to start with the old key does not.
        assert!(matches!(home.lock_for_node(), Err(HomeError::KeyChanged { .. })));
    }
}

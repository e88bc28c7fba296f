//! `actum key`: who this home is.

use super::Global;
use crate::{
    error::{CliError, Kind},
    output::{self, Format},
    passphrase,
};
use actum_node::{
    Home, clock,
    keyring::{self, KeyFile},
};
use std::path::{Path, PathBuf};

/// Shows who this home is, and keeps its key: seals it, copies it, brings one in, hands over to a new one.
///
/// A sealed key needs its passphrase for whatever signs: from ACTUM_PASSPHRASE, from the file that ACTUM_PASSPHRASE_FILE
/// names, or asked for at the terminal. A new passphrase comes from ACTUM_NEW_PASSPHRASE or ACTUM_NEW_PASSPHRASE_FILE, or
/// is asked for twice.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print this home's did:key
    ///
    /// The did:key goes to stdout; on stderr, the peer id, whether the key is sealed, and the keys this home had before.
    Show,
    /// Copy the private key to a new file, which is never over another
    ///
    /// PKCS#8 PEM, which OpenSSL reads too. A sealed key is copied as it is, sealed.
    Export {
        /// Where to write; `-` for stdout
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Seal the copy with a passphrase, where the home's key is not sealed
        #[arg(long, conflicts_with = "unsealed")]
        sealed: bool,
        /// Do not seal the copy, though the home's key is sealed
        #[arg(long)]
        unsealed: bool,
    },
    /// Bring a private key into this home
    ///
    /// An Ed25519 key in PKCS#8 PEM, as `actum key export` and OpenSSL write it. It stays sealed if it is.
    Import {
        /// The key's file
        file: PathBuf,
        /// Put this home's key aside and use the other: this home is somebody else from then on
        #[arg(long)]
        replace: bool,
    },
    /// Seal this home's key with a passphrase, or with another one than before
    Seal,
    /// Keep this home's key without a passphrase
    Unseal,
    /// Hand over to a new key, and destroy the old one
    ///
    /// What was granted to the old key, the new one uses. What the old key granted and is still in force stays good.
    /// Whatever else the old key signs is refused by all who know of this. No node may run in this home meanwhile.
    Rotate,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    match args.verb {
        Verb::Show => show(&global.open_locked_home()?, global.format),
        Verb::Export { output, sealed, unsealed } => export(global, &output, sealed, unsealed),
        Verb::Import { file, replace } => import(global, &file, replace),
        Verb::Seal => {
            let home = global.open_home()?;
            keyring::seal(&home, &passphrase::chosen()?)?;
            changed(
                &home,
                true,
                global.format,
                "the key is sealed; without the passphrase nobody gets it back",
            );
            Ok(())
        }
        Verb::Unseal => {
            let home = global.open_home()?;
            if !home.is_sealed() {
                return Err(CliError::new(Kind::Usage, "the key is not sealed"));
            }
            keyring::unseal(&home)?;
            changed(&home, false, global.format, "the key is no longer sealed");
            Ok(())
        }
        Verb::Rotate => rotate(global),
    }
}

fn show(home: &Home, format: Format) -> Result<(), CliError> {
    let (did, peer_id) = (home.did(), actum_node::peer_id(&home.did()));
    if format == Format::Json {
        let former = home.former().iter().map(|f| {
            let rotation = f.rotation.payload();
            serde_json::json!({
                "did": f.did.to_string(),
                "rotation": f.rotation.id().to_string(),
                "rotated_at": rotation.iat,
                "kept": rotation.keep.len(),
            })
        });
        output::json(&serde_json::json!({
            "did": did.to_string(), "peer_id": peer_id, "sealed": home.is_sealed(),
            "former": former.collect::<serde_json::Value>(),
        }));
        return Ok(());
    }
    output::line(did.to_string());
    output::talk(format!("peer id  {peer_id}"));
    output::talk(format!("sealed   {}", if home.is_sealed() { "yes" } else { "no" }));
    for former in home.former() {
        output::talk(format!("former   {}", former.did));
    }
    Ok(())
}

fn export(global: &Global, to: &Path, sealed: bool, unsealed: bool) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    let text = if home.is_sealed() && !unsealed {
        keyring::file_of(&home)?.text().to_owned().into()
    } else {
        passphrase::unlock(&home)?;
        let passphrase = sealed.then(passphrase::chosen).transpose()?;
        keyring::to_text(home.key()?, passphrase.as_ref())
    };
    if to == Path::new("-") {
        output::raw(text.as_bytes());
        return Ok(());
    }
    if to.symlink_metadata().is_ok() {
        let there = format!("{} exists, and is not overwritten", to.display());
        return Err(CliError::new(Kind::Usage, there));
    }
    keyring::write_new(to, &text)?;
    if global.format == Format::Json {
        output::json(&serde_json::json!({"did": home.did().to_string(), "path": to}));
    } else {
        output::talk(format!("{}: the private key of {}", to.display(), home.did()));
    }
    Ok(())
}

fn import(global: &Global, file: &Path, replace: bool) -> Result<(), CliError> {
    let read = KeyFile::read(file).map_err(|e| CliError::from_file(e, file))?;
    let (key, passphrase) = passphrase::open(&read, file)?;
    let aside = keyring::import(&global.home_path()?, &key, passphrase.as_ref(), replace)?;
    if global.format == Format::Json {
        output::json(&serde_json::json!({
            "did": key.did().to_string(), "sealed": passphrase.is_some(), "aside": aside,
        }));
        return Ok(());
    }
    output::line(key.did().to_string());
    if let Some(aside) = aside {
        output::talk(format!("the key before it is in {}", aside.display()));
    }
    Ok(())
}

fn changed(home: &Home, sealed: bool, format: Format, text: &str) {
    match format {
        Format::Text => output::talk(text),
        Format::Json => {
            output::json(&serde_json::json!({"did": home.did().to_string(), "sealed": sealed}));
        }
    }
}

fn rotate(global: &Global) -> Result<(), CliError> {
    let home = global.open_locked_home()?;
    let passphrase = passphrase::unlock(&home)?;
    let now = clock::now_secs();
    let rotated = keyring::rotate(&home, home.worth_keeping(now)?, now, passphrase.as_ref())?;
    // Opened anew, the home keeps what the old key said last where it is looked for.
    drop(home);
    drop(global.open_locked_home()?);
    let rotation = rotated.rotation.payload();
    if global.format == Format::Json {
        output::json(&serde_json::json!({
            "did": rotated.new.to_string(),
            "former": rotation.iss.to_string(),
            "rotation": rotated.rotation.id().to_string(),
            "powerline": rotated.powerline.id().to_string(),
            "kept": rotation.keep.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    output::line(rotated.new.to_string());
    output::talk(format!("this home was {}, whose key is destroyed", rotation.iss));
    let kept = rotation.keep.len().saturating_sub(1);
    output::talk(format!("{kept} grants of the old key stay good; `actum grant list --issued` shows them"));
    output::talk("now start the node again, and tell people the new did:key; `actum key show` prints it");
    Ok(())
}

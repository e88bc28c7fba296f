//! `actum grant`: letting others run things here, within bounds.

mod clauses;
mod show;
pub(super) mod time;

use super::Global;
use crate::{
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_model::{Did, grant::May};
use actum_node::{
    Config, Home, clock,
    grants::{self, Found, Grant, Grants, Made, Note},
};
use clauses::Clauses;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Lets others run things here, within bounds, for a while; and hands on what others let you do.
///
/// A grant is a file that only whoever it is for can use. It says what may be run, with how much, until when, and what of
/// the real world it may touch, which is nothing unless you say so. It can be handed on with less, never with more, and
/// ended at any time by whoever issued a part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Let somebody run something here
    ///
    /// The grant is written to a new file or to stdout, and kept here. Without --may it is for anything that this home
    /// offers; without --allow an action gets nothing of the real world: no network, no storage, no files.
    New {
        #[command(flatten)]
        clauses: Box<Clauses>,
    },
    /// Hand on a grant to you, with less
    ///
    /// What you do not say stays as it is in the grant; saying more than it gives is refused. What is written is the whole
    /// chain, which is all that whoever gets it needs.
    Narrow {
        /// The grant: a file, `-` for stdin, its id, or enough of the id's beginning or end
        grant: String,
        #[command(flatten)]
        clauses: Box<Clauses>,
    },
    /// Say in words what a grant gives, and how it stands with it
    Show {
        /// The grant: a file, `-` for stdin, its id, or enough of the id's beginning or end
        grant: String,
    },
    /// Check a grant: signatures, order, bounds, times, and what was revoked as far as is known here
    Verify {
        /// The grant: a file, `-` for stdin, its id, or enough of the id's beginning or end
        grant: String,
        /// The time to check it for, as a date, a date and time, or RFC 3339 [default: now]
        #[arg(long, value_name = "TIME", value_parser = time::begin)]
        at: Option<u64>,
        /// Whether this provider gives anything for it, by its did:key or your name for it
        #[arg(long, value_name = "WHO")]
        for_provider: Option<String>,
    },
    /// End a grant before its time
    ///
    /// It is kept here first, so that this home's node refuses the grant from now on and tells others; then the peers that
    /// are known are told. Of a grant in a file, your own last part ends, and all that was handed on below it.
    Revoke {
        /// The grant: its id, enough of the id's beginning or end, a file, or `-` for stdin
        grant: String,
        /// A peer to tell, as a multiaddr; repeat for several. Those of config.toml and those met before are told too
        #[arg(long, value_name = "ADDRESS")]
        peer: Vec<String>,
        /// Tell nobody now; this home's node does when it runs
        #[arg(long, conflicts_with = "peer")]
        offline: bool,
    },
    /// List grants, newest first
    List {
        /// Only those to you
        #[arg(long, conflicts_with_all = ["issued", "all"])]
        held: bool,
        /// Only those by you
        #[arg(long, conflicts_with = "all")]
        issued: bool,
        /// Those that others showed this home too
        #[arg(long)]
        all: bool,
        /// The most grants to list
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
    },
    /// Keep a grant that somebody gave you: `actum call` uses it from then on
    Add {
        /// The file, or `-` for stdin
        file: String,
    },
}

pub(crate) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let signs = matches!(args.verb, Verb::New { .. } | Verb::Narrow { .. } | Verb::Revoke { .. });
    let home = Arc::new(if signs { global.open_home()? } else { global.open_locked_home()? });
    let config = Config::read(&home.config_path(), false)?;
    let grants = Grants::open(&home, &config, clock::now_secs())?;
    let format = global.format;
    match args.verb {
        Verb::New { clauses } => {
            let (to, asked, file) = clauses.read(&home, &grants)?;
            let made = grants.issue(to, asked)?;
            made_one(&grants, &made, file.as_deref(), format)
        }
        Verb::Narrow { grant, clauses } => {
            let above = find(&grants, &grant)?.grant;
            let (to, asked, file) = clauses.read(&home, &grants)?;
            let made = grants.narrow(&above, to, asked)?;
            made_one(&grants, &made, file.as_deref(), format)
        }
        Verb::Show { grant } => show::show(&grants, &find(&grants, &grant)?.grant, format),
        Verb::Verify { grant, at, for_provider } => {
            let grant = find(&grants, &grant)?.grant;
            let provider = for_provider.map(|who| grants.whom(&who)).transpose()?;
            verify(&grants, &grant, at, provider.as_ref(), format)
        }
        Verb::Revoke { grant, peer, offline } => {
            let found = find(&grants, &grant)?;
            let told = (!offline).then_some((config.bootstrap.as_slice(), peer.as_slice()));
            revoke(&home, &grants, &found, told, format)
        }
        Verb::List { held, issued, all, limit } => {
            let which = match (held, issued, all) {
                (true, ..) => grants::Which::Held,
                (_, true, _) => grants::Which::Issued,
                (_, _, true) => grants::Which::All,
                _ => grants::Which::Own,
            };
            show::list(&grants, &grants.list(which, limit.into())?, format)
        }
        Verb::Add { file } => add(&grants, &file, format),
    }
}

/// The grant that somebody typed.
fn find(grants: &Grants<'_>, text: &str) -> Result<Found, CliError> {
    match text {
        "-" => Ok(Found { grant: Grant::read_from("stdin", io::stdin().lock())?, file: true }),
        text => Ok(grants.find(text)?),
    }
}

/// Refuses a file that is there before anything is signed.
fn new_file(path: &Path) -> Result<(), CliError> {
    if path.symlink_metadata().is_ok() {
        let message = format!("{} is there already; nothing was written", path.display());
        return Err(CliError::new(Kind::Usage, message).hint("-o <another file>"));
    }
    Ok(())
}

/// Writes a grant that was made, and says what it is.
fn made_one(grants: &Grants<'_>, made: &Made, file: Option<&Path>, format: Format) -> Result<(), CliError> {
    let text = made.grant.to_text()?;
    for note in &made.notes {
        output::talk(match note {
            Note::Anything => {
                "warning: it is for anything this home offers; --may names what may be run".to_owned()
            }
            Note::UsualEnd(until) => {
                format!("it holds until {}; --for, --until or --forever say otherwise", time::words(*until))
            }
            Note::NoSuchArgument(name) => {
                format!(
                    "warning: no function it allows takes an argument {name:?}, so nothing can satisfy that"
                )
            }
        });
    }
    output::talk(grants.describe(&made.grant, &time::words));
    output::talk(format!("grant: {}", made.grant.id()));
    if let Some(path) = file {
        let written = fs::File::create_new(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        written.map_err(|e| {
            CliError::new(Kind::Usage, format!("cannot write {}: {e}", path.display()))
                .hint(format!("it is kept here: `actum grant show {}`", made.grant.id()))
        })?;
    }
    match format {
        Format::Json => output::json(&show::to_json(grants, &made.grant, file)?),
        Format::Text if file.is_none() => output::line(text),
        Format::Text => {}
    }
    Ok(())
}

fn verify(
    grants: &Grants<'_>,
    grant: &Grant,
    at: Option<u64>,
    provider: Option<&Did>,
    format: Format,
) -> Result<(), CliError> {
    let at = at.unwrap_or(grants.now());
    let verified = grants.verify(grant, at, provider);
    if format == Format::Json {
        let flaw = verified.as_ref().err();
        output::json(&serde_json::json!({
            "grant": grant.id().to_string(),
            "at": at,
            "valid": flaw.is_none(),
            "error": flaw.map(grants::Flaw::name),
            "reason": flaw.map(|flaw| show::flaw(grants, flaw)),
        }));
    }
    match verified {
        Ok(chain) => {
            if format == Format::Text {
                let until = chain
                    .until()
                    .map_or_else(|| "without end".to_owned(), |t| format!("until {}", time::words(t)));
                let by = match chain.proofs().len() {
                    1 => "1 signature".to_owned(),
                    n => format!("{n} signatures"),
                };
                output::line(format!("valid: {by}, {until}"));
            }
            Ok(())
        }
        Err(flaw) => {
            let message = format!("the grant does not hold ({}): {}", flaw.name(), show::flaw(grants, &flaw));
            Err(CliError::new(Kind::Verification, message))
        }
    }
}

fn add(grants: &Grants<'_>, file: &str, format: Format) -> Result<(), CliError> {
    let grant = find(grants, file)?.grant;
    grants.keep(&grant).map_err(|e| refused(grants, e))?;
    output::talk(grants.describe(&grant, &time::words));
    output::talk("it is kept: `actum call` uses it by itself where it fits");
    match format {
        Format::Json => output::json(&show::to_json(grants, &grant, None)?),
        Format::Text => output::line(grant.id().to_string()),
    }
    Ok(())
}

/// An error of the library, with a grant's flaw in words.
fn refused(grants: &Grants<'_>, error: grants::GrantError) -> CliError {
    match error {
        grants::GrantError::Flaw(flaw) => {
            let message = format!("the grant does not hold ({}): {}", flaw.name(), show::flaw(grants, &flaw));
            CliError::new(Kind::Verification, message).hint("ask whoever gave it for another")
        }
        e => e.into(),
    }
}

fn revoke(
    home: &Arc<Home>,
    grants: &Grants<'_>,
    found: &Found,
    tell: Option<(&[String], &[String])>,
    format: Format,
) -> Result<(), CliError> {
    let revoked = grants.revoke(found)?;
    let id = revoked.grant.id();
    let already = if revoked.news { "" } else { " (it was before)" };
    output::talk(format!("revoked{already}, and kept here: {id}"));
    let told = match tell {
        None => grants::Told::default(),
        Some((configured, named)) => {
            let _progress = Progress::start("telling peers");
            let telling = grants::tell(home.clone(), configured, named, revoked.notice.clone());
            super::runtime()?.block_on(telling)
        }
    };
    for why in &told.failed {
        output::talk(format!("not told: {}", output::clean(why)));
    }
    let news = told.told.iter().filter(|(_, news)| *news).count();
    output::talk(match told.told.len() {
        0 => {
            "nobody else was told yet: this home's node refuses it from now on, and tells the peers it meets"
                .to_owned()
        }
        1 => format!("told 1 peer, to whom it was {}", if news == 1 { "news" } else { "known" }),
        n => format!("told {n} peers, to {news} of whom it was news"),
    });
    match format {
        Format::Json => output::json(&serde_json::json!({
            "revoked": id.to_string(),
            "news": revoked.news,
            "told": told.told.iter().map(|(did, news)| serde_json::json!({
                "did": did.to_string(), "news": news,
            })).collect::<Vec<_>>(),
            "failed": told.failed,
        })),
        Format::Text => output::line(id.to_string()),
    }
    Ok(())
}

/// Where a grant is written.
#[derive(Debug, clap::Args)]
struct Output {
    /// A new file to write the grant to; it is not written over another [default: stdout]
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What may be run, as typed.
fn may(text: &str) -> Result<May, String> {
    text.parse()
}

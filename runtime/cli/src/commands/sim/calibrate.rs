//! `actum sim calibrate`: what the real node takes and weighs on this machine.

use super::homes::{Stage, failed};
use crate::{
    commands::Global,
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_node::{
    clock,
    measure::{self, Homes, MeasureError, Measured, Subject},
};
use actum_sim::{
    Span,
    profile::{Link, Made, Profile, Takes, Weighs},
};
use std::{error::Error as _, fmt::Write as _, fs, path::PathBuf, sync::Arc, time::Duration};

/// The capability and the function that are run.
const CAPABILITY: &str = "text-stats";
const FUNCTION: &str = "count-words";
/// Bytes of the text that it is run on.
const TEXT_BYTES: usize = 2_000;
/// What the text is the beginning of.
const TEXT: &str = include_str!("../../../../../LICENSE-APACHE");

/// Measures the real node on this machine, and writes a profile for simulations.
///
/// Three real nodes run in a temporary directory, on loopback: a registry, a provider, and whoever asks. Times are medians.
/// Run it on a machine that does nothing else.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write the profile there, instead of to stdout
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// How often each thing is done
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(50..=10_000))]
    rounds: u32,
}

pub(super) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let progress = Progress::start("making homes");
    let stage = Stage::open("calibrate")?;
    let published = stage.publish(CAPABILITY)?;
    let home = |name| stage.home(name, &[&published]).map(Arc::new);
    let homes = Homes { registry: home("registry")?, provider: home("provider")?, requester: home("you")? };
    let text = TEXT.get(..TEXT.floor_char_boundary(TEXT_BYTES)).unwrap_or(TEXT);
    let subject = Subject {
        component: published.component,
        release: &published.release,
        function: FUNCTION,
        args: &serde_json::json!({ "text": text }),
    };
    let rounds = usize::try_from(args.rounds).unwrap_or(measure::MIN_ROUNDS);
    let mut say = |what: &str| progress.say(format!("measuring {what}"));
    let measured = crate::commands::runtime()?.block_on(measure::measure(&homes, &subject, rounds, &mut say));
    let measured = measured.map_err(|e| unmeasured(&e))?;
    drop(progress);
    let profile = profile(&measured);
    let text = written(&profile)?;
    if let Some(path) = &args.output {
        fs::write(path, &text).map_err(|e| failed(path, &e))?;
        output::talk(format!("the profile is in {}", path.display()));
    }
    match (global.format, &args.output) {
        (Format::Json, _) => {
            let json = serde_json::to_value(&profile);
            output::json(&json.map_err(|e| CliError::new(Kind::Internal, e.to_string()))?);
        }
        (Format::Text, None) => output::raw(text.as_bytes()),
        (Format::Text, Some(_)) => {}
    }
    Ok(())
}

/// What kept it from being measured, with all that led to it.
fn unmeasured(error: &MeasureError) -> CliError {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            let _ = write!(text, ": {said}");
        }
        next = cause.source();
    }
    CliError::new(Kind::Internal, format!("this machine could not be measured: {text}"))
}

/// In whole microseconds, the nearest.
fn span(took: Duration) -> Span {
    let micros = took.as_nanos().saturating_add(500) / 1_000;
    Span::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// To three decimals: more say nothing of a spread.
fn thousandths(n: f64) -> f64 {
    (n * 1_000.0).round() / 1_000.0
}

fn profile(measured: &Measured) -> Profile {
    let Measured { link, takes, weighs } = measured;
    Profile {
        made: Made {
            date: today(),
            machine: machine(),
            actum: env!("CARGO_PKG_VERSION").to_owned(),
            action: format!("{CAPABILITY} {FUNCTION}"),
        },
        link: Link {
            one_way: span(link.one_way),
            sigma: thousandths(link.sigma),
            loss: 0.0,
            bytes_per_second: link.bytes_per_second,
        },
        takes: Takes {
            sign: span(takes.sign),
            verify: span(takes.verify),
            admit: span(takes.admit),
            execute: span(takes.execute),
            execute_sigma: thousandths(takes.execute_sigma),
            replay: span(takes.replay),
            search: span(takes.search),
            search_offer_ns: takes.search_offer_ns,
            judge: span(takes.judge),
        },
        weighs: Weighs {
            announce: weighs.announce,
            announced: weighs.announced,
            find: weighs.find,
            page: weighs.page,
            offer: weighs.offer,
            register: weighs.register,
            registered: weighs.registered,
            renew: weighs.renew,
            renewed: weighs.renewed,
            get_ads: weighs.get_ads,
            ads: weighs.ads,
            peer: weighs.peer,
            prove: weighs.prove,
            reconcile: weighs.reconcile,
            statements: weighs.statements,
            accuse: weighs.accuse,
            proof: weighs.proof,
            call: weighs.call,
            done: weighs.done,
            args: weighs.args,
            output: weighs.output,
            component: weighs.component,
            fuel: weighs.fuel,
        },
    }
}

/// The day, as `YYYY-MM-DD`, of UTC.
fn today() -> String {
    let now = i64::try_from(clock::now_secs()).ok().and_then(|now| jiff::Timestamp::from_second(now).ok());
    now.map(|now| now.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()).unwrap_or_default()
}

/// What machine this is, in words.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map(|(_, model)| format!(" of {}", output::clean(model.trim()))).unwrap_or_default();
    format!("{} {}, {cores}{model}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The profile as its file has it, each part with a word on what it is.
fn written(profile: &Profile) -> Result<String, CliError> {
    let internal = |e: &dyn std::error::Error| CliError::new(Kind::Internal, e.to_string());
    let mut text = "# What the real node takes and weighs: `actum sim calibrate` measured it.\n".to_owned();
    let parts = [
        ("made", "where and of what", toml::to_string(&profile.made)),
        ("link", "what carries messages: loopback, which loses none", toml::to_string(&profile.link)),
        ("takes", "what work takes: medians, in microseconds", toml::to_string(&profile.takes)),
        (
            "weighs",
            "what messages weigh beyond the statements in them, in bytes, frames included",
            toml::to_string(&profile.weighs),
        ),
    ];
    for (name, what, part) in parts {
        let part = part.map_err(|e| internal(&e))?;
        let _ = write!(text, "\n# {name}: {what}.\n[{name}]\n{part}");
    }
    // A file that could not be read back would be worth nothing.
    let read: Profile = toml::from_str(&text).map_err(|e| internal(&e))?;
    match read == *profile {
        true => Ok(text),
        false => Err(CliError::new(Kind::Internal, "the profile does not read back as it was measured")),
    }
}

#[cfg(test)]
mod tests {
    use super::{measure as m, *};

    #[test]
    fn a_profile_is_written_with_every_part_explained_and_reads_back() {
        let took = Duration::from_nanos(12_345);
        let measured = Measured {
            link: m::Link { one_way: took, sigma: 0.123_456, bytes_per_second: 1_000_000 },
            takes: m::Takes {
                sign: took,
                verify: took,
                admit: took,
                execute: took,
                execute_sigma: 0.1,
                replay: took,
                search: took,
                search_offer_ns: 77,
                judge: took,
            },
            weighs: m::Weighs {
                announce: 1,
                announced: 2,
                find: 3,
                page: 4,
                offer: 5,
                register: 6,
                registered: 7,
                renew: 8,
                renewed: 9,
                get_ads: 10,
                ads: 11,
                peer: 12,
                prove: 13,
                reconcile: 14,
                statements: 15,
                accuse: 16,
                proof: 17,
                call: 18,
                done: 19,
                args: 20,
                output: 21,
                component: 22,
                fuel: 23,
            },
        };
        let profile = profile(&measured);
        let text = written(&profile).unwrap();
        assert_eq!(toml::from_str::<Profile>(&text).unwrap(), profile);
        for part in ["made", "link", "takes", "weighs"] {
            assert!(text.contains(&format!("# {part}: ")), "{text}");
        }
        assert!(text.contains("sign_us = 12\n") && text.contains("sigma = 0.123\n"), "{text}");
        assert!(text.contains("statements = 15\n") && text.contains("fuel = 23\n"), "{text}");
    }
}

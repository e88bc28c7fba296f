//! `actum sim crosscheck`: the same network, real and simulated, side by side.

mod real;
mod work;

use super::homes::{Stage, failed};
use crate::{
    commands::{Global, node::StopSignal},
    error::{CliError, Kind},
    output::{self, Format, Progress},
};
use actum_model::{Release, Signed};
use actum_node::{Config, RiskPolicy, TrafficKind};
use actum_sim::{
    Time,
    advertise::{self, Setup},
    market::Market,
    params::{Conduct, Params, Step},
    profile::Profile,
    stats::Sample,
};
use real::{REGISTRIES, Real};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};
use work::Work;

/// By how much the bytes of the control plane may differ, as a share of the real ones.
const WITHIN: f64 = 0.2;
/// Actions that each provider runs at once.
const CAPACITY: u32 = 2;
/// Capabilities that each provider offers.
const OFFERS: u32 = 2;
/// The most events that one simulated run may have: far more than it needs.
const MOST_EVENTS: u64 = 200_000_000;

/// Runs a network of real nodes and the same network simulated, and says whether the simulator tells the truth.
///
/// Every provider and registry is a process of its own, on loopback; each takes some 40 MB of memory. Requesters delegate
/// workflows of two steps at random moments and know the right answers. It says how many workflows succeeded and what the
/// control plane sent, by kind, beside what the simulator makes of the same numbers over many seeds.
///
/// Exits with 7 where the real success lies outside of the interval in which 95 of 100 simulated runs lie, or where the
/// bytes of the control plane differ by more than a fifth.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Providers
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=200))]
    peers: u32,
    /// Who asks, all in this process
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    requesters: u32,
    /// Seconds of real time that are measured
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(10..=3_600))]
    seconds: u64,
    /// Simulated runs, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=1_000))]
    seeds: u64,
    /// The share of providers that lie each time, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    alpha: f64,
    /// The level of risk that is delegated under
    #[arg(long, value_name = "LEVEL", default_value = "medium")]
    level: String,
    /// Workflows that each requester begins in an hour on average
    #[arg(long, value_name = "N", default_value_t = 720, value_parser = clap::value_parser!(u32).range(1..=36_000))]
    workflows_per_hour: u32,
    /// Seconds that leases hold: short, so that many are renewed while it is measured, and not so short that registries refuse
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(15..=900))]
    lease: u64,
    /// What the node takes and weighs, as `actum sim calibrate` wrote it [default: as it was measured for this release]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Write what came of it there too, as crosscheck.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a share is 0 to 1".to_owned()) }
}

/// What both networks have in common.
struct Setting {
    peers: u32,
    requesters: u32,
    seconds: u64,
    seeds: u64,
    alpha: f64,
    workflows_per_hour: f64,
    lease: u64,
    policy: RiskPolicy,
    /// Whether peers may write on the standard error.
    talks: bool,
}

impl Setting {
    fn of(args: &Args, global: &Global) -> Result<Self, CliError> {
        let mut policy = Config::default().risk;
        if !policy.level.contains_key(&args.level) {
            let levels: Vec<&str> = policy.level.keys().map(String::as_str).collect();
            let text = format!("there is no level {:?}; there are {}", args.level, levels.join(", "));
            return Err(CliError::new(Kind::Usage, text));
        }
        for class in [
            &mut policy.pure,
            &mut policy.reads,
            &mut policy.writes,
            &mut policy.spends,
            &mut policy.large,
            &mut policy.granted,
        ] {
            class.clone_from(&args.level);
        }
        let setting = Self {
            peers: args.peers,
            requesters: args.requesters,
            seconds: args.seconds,
            seeds: args.seeds,
            alpha: args.alpha,
            workflows_per_hour: f64::from(args.workflows_per_hour),
            lease: args.lease,
            policy,
            talks: global.verbose > 0,
        };
        // Those who ask are honest providers in the simulated network: it would ask less than the real one.
        let honest = setting.peers.saturating_sub(setting.liars());
        if setting.requesters > honest {
            let text = format!("{} requesters, and {honest} honest providers", setting.requesters);
            return Err(
                CliError::new(Kind::Usage, text).hint("more --peers, fewer --requesters, or less --alpha")
            );
        }
        Ok(setting)
    }

    /// How many providers lie.
    fn liars(&self) -> u32 {
        (f64::from(self.peers) * self.alpha).round() as u32
    }

    /// How long all get, once they know each other, until each has announced again.
    fn settle(&self) -> Duration {
        Duration::from_secs(self.lease.clamp(10, 60))
    }

    /// The same network, as the simulator has it.
    fn params(&self) -> Params {
        Params {
            peers: self.peers,
            requesters: self.requesters,
            registries: REGISTRIES,
            capabilities: OFFERS,
            offers_each: OFFERS,
            alpha: self.alpha,
            hostile: Conduct::Lies,
            seconds: self.seconds.saturating_add(self.settle().as_secs()),
            workflows_per_hour: self.workflows_per_hour,
            steps: vec![Step::Pure, Step::Pure],
            lease_seconds: self.lease,
            capacity: CAPACITY,
            queue: Config::default().queue,
            balances: true,
            proofs: true,
            link: None,
            ..Params::default()
        }
    }
}

/// A figure of the real network, and what the simulator says of it.
struct Compared {
    name: &'static str,
    real: f64,
    simulated: Sample,
}

impl Compared {
    /// Within what one more simulated run would lie, 95 times of 100. The interval of a mean, which is narrower by so much,
    /// says where the mean is; the real network ran once.
    fn run(&self) -> (f64, f64) {
        let half = (self.simulated.high() - self.simulated.mean) * (self.simulated.n as f64 + 1.0).sqrt();
        (self.simulated.mean - half, self.simulated.mean + half)
    }

    fn lies_within(&self) -> bool {
        let (low, high) = self.run();
        // A difference in the last digit of a share is none.
        (low - 1e-9..=high + 1e-9).contains(&self.real)
    }

    /// By how much the simulator is off, as a share of the real figure; infinitely where that is nothing, which JSON has as null.
    fn off(&self) -> f64 {
        if self.real == 0.0 && self.simulated.mean == 0.0 {
            return 0.0;
        }
        (self.simulated.mean - self.real) / self.real.abs()
    }
}

pub(super) fn run(args: Args, global: &Global) -> Result<(), CliError> {
    let setting = Setting::of(&args, global)?;
    let profile = profile(&args)?;
    if let Some(out) = &args.out {
        fs::create_dir_all(out).map_err(|e| failed(out, &e))?;
    }
    let progress = Progress::start("publishing what is asked for");
    let stage = Stage::open("crosscheck")?;
    let work = Arc::new(Work::open(&stage)?);
    let releases = work.published().map(|published| Arc::new(published.release.clone()));
    let real = crate::commands::runtime()?.block_on(async {
        let mut stop = StopSignal::listen()?;
        tokio::select! {
            real = real::run(&stage, work, &setting, &progress) => real,
            () = stop.next() => Err(CliError::new(Kind::Internal, "interrupted; nothing was compared")),
        }
    })?;
    drop(stage);
    let simulated = simulate(&setting, &profile, &releases, &progress)?;
    drop(progress);
    let compared = compare(&setting, &real, &simulated)?;
    report(&args, global.format, &setting, &real, &compared)?;
    verdict(&compared)
}

fn profile(args: &Args) -> Result<Profile, CliError> {
    let unreadable =
        |what: String, e: &dyn std::error::Error| CliError::new(Kind::Config, format!("{what}: {e}"));
    match &args.profile {
        None => Profile::measured().map_err(|e| unreadable("the measured profile".to_owned(), &e)),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|e| unreadable(path.display().to_string(), &e))?;
            toml::from_str(&text).map_err(|e| unreadable(path.display().to_string(), &e))
        }
    }
}

/// What every seed came to, by figure: `success`, and bytes by kind.
type Simulated = BTreeMap<&'static str, Vec<f64>>;

/// The figure of the simulator for a kind of traffic; nothing where it has none.
fn simulated_name(kind: TrafficKind) -> Option<&'static str> {
    match kind {
        TrafficKind::Announce => Some("announce_bytes"),
        TrafficKind::Find => Some("find_bytes"),
        TrafficKind::Advertise => Some("advertise_bytes"),
        TrafficKind::Reconcile => Some("reconcile_bytes"),
        TrafficKind::Fraud => Some("fraud_bytes"),
        TrafficKind::Balance | TrafficKind::Other | TrafficKind::Content | TrafficKind::Action => None,
    }
}

fn simulate(
    setting: &Setting,
    profile: &Profile,
    releases: &[Arc<Signed<Release>>],
    progress: &Progress,
) -> Result<Simulated, CliError> {
    let mut all = Simulated::new();
    for seed in 0..setting.seeds {
        progress.say(format!("simulating: {} of {}", seed.saturating_add(1), setting.seeds));
        for (name, value) in simulate_one(setting, profile, releases, seed)? {
            all.entry(name).or_default().push(value);
        }
    }
    Ok(all)
}

/// One simulated run. Success is of workflows from the beginning, when nobody knows anybody, as in the real network; bytes are
/// of as long as there, after as much time to settle.
fn simulate_one(
    setting: &Setting,
    profile: &Profile,
    releases: &[Arc<Signed<Release>>],
    seed: u64,
) -> Result<BTreeMap<&'static str, f64>, CliError> {
    let (policy, profile) = (setting.policy.clone(), profile.clone());
    let mut market = Market::of_releases(setting.params(), policy, profile.clone(), releases, seed);
    let settled = setting.settle().as_secs();
    let mut at = |seconds: u64| match market.run(Time::from_seconds(seconds), MOST_EVENTS) {
        true => Ok(market.figures()),
        false => Err(CliError::new(Kind::Internal, "the simulated network came to no end")),
    };
    // Time never runs back: the earlier moment first.
    let (first, second) = (setting.seconds.min(settled), setting.seconds.max(settled));
    let (early, late) = (at(first)?, at(second)?);
    let (success, quiet) = if setting.seconds < settled { (&early, &late) } else { (&late, &early) };
    let end = at(settled.saturating_add(setting.seconds))?;
    let figure =
        |figures: &BTreeMap<&'static str, f64>, name: &str| figures.get(name).copied().unwrap_or_default();
    let mut one = BTreeMap::from([("success", figure(success, "success"))]);
    let (before, long) = (settled as f64, setting.seconds as f64);
    for name in TrafficKind::ALL.into_iter().filter_map(simulated_name) {
        // Figures are for each second since the beginning. Requesters know nobody then, as in the real network once it has
        // settled; what providers say goes on alike, and is counted when all have announced.
        let of_requesters = matches!(name, "find_bytes" | "fraud_bytes");
        let moved = match of_requesters {
            true => figure(success, name) * long,
            false => figure(&end, name) * (before + long) - figure(quiet, name) * before,
        };
        one.insert(name, moved / long);
    }
    let traffic = advertise::Traffic {
        peers: setting.peers,
        releases: releases.to_vec(),
        registries: REGISTRIES,
        lease_seconds: setting.lease,
        warm_up_seconds: settled,
        seconds: setting.seconds,
    };
    let advertised = advertise::traffic(Setup::new(profile.link, profile.weighs), &traffic, seed);
    // There they are for each node, registries among them.
    let nodes = f64::from(setting.peers.saturating_add(REGISTRIES)) / f64::from(setting.peers);
    *one.entry("advertise_bytes").or_default() += figure(&advertised, "bytes") * nodes;
    Ok(one)
}

/// Success first, then all of the control plane, then it by kind.
fn compare(setting: &Setting, real: &Real, simulated: &Simulated) -> Result<Vec<Compared>, CliError> {
    let ended = f64::from(real.right) + f64::from(real.wrong) + f64::from(real.failed);
    if ended == 0.0 {
        return Err(CliError::new(Kind::Internal, "no workflow ended, so there is nothing to compare"));
    }
    let each = f64::from(setting.peers) * real.took.as_secs_f64();
    let bytes = |kind| real.sent.get(&kind).copied().unwrap_or_default() as f64 / each;
    let none = vec![0.0; usize::try_from(setting.seeds).unwrap_or(usize::MAX)];
    let of = |name: Option<&str>| name.and_then(|name| simulated.get(name)).unwrap_or(&none);
    let sample = |values: &[f64]| {
        Sample::of(values).ok_or_else(|| CliError::new(Kind::Internal, "nothing was simulated"))
    };
    let control: Vec<TrafficKind> = TrafficKind::ALL.into_iter().filter(|kind| kind.is_control()).collect();
    let mut sums = none.clone();
    for kind in &control {
        sums.iter_mut().zip(of(simulated_name(*kind))).for_each(|(sum, value)| *sum += value);
    }
    let mut all = vec![
        Compared {
            name: "success",
            real: f64::from(real.right) / ended,
            simulated: sample(of(Some("success")))?,
        },
        Compared {
            name: "control",
            real: control.iter().map(|kind| bytes(*kind)).sum(),
            simulated: sample(&sums)?,
        },
    ];
    for kind in control {
        let simulated = sample(of(simulated_name(kind)))?;
        all.push(Compared { name: kind.name(), real: bytes(kind), simulated });
    }
    Ok(all)
}

/// What was compared, as a table or as JSON, and into the directory asked for.
fn report(
    args: &Args,
    format: Format,
    setting: &Setting,
    real: &Real,
    compared: &[Compared],
) -> Result<(), CliError> {
    let rows = compared.iter().map(|c| {
        let (low, high) = c.run();
        json!({
            "figure": c.name, "real": c.real, "mean": c.simulated.mean, "low": low, "high": high,
            "off": c.off(),
        })
    });
    let all = json!({
        "peers": setting.peers, "requesters": setting.requesters, "registries": REGISTRIES,
        "alpha": setting.alpha, "level": args.level, "seconds": real.took.as_secs_f64(),
        "seeds": setting.seeds, "lease_seconds": setting.lease,
        "right": real.right, "wrong": real.wrong, "failed": real.failed, "first_failure": real.why,
        "compared": rows.collect::<Vec<_>>(), "agrees": verdict(compared).is_ok(),
    });
    if let Some(out) = &args.out {
        let path = out.join("crosscheck.json");
        fs::write(&path, format!("{all:#}\n")).map_err(|e| failed(&path, &e))?;
    }
    if format == Format::Json {
        output::json(&all);
        return Ok(());
    }
    output::line(format!(
        "{} real providers, {} of them liars; workflows: {} right, {} wrong, {} failed in {:.0} s",
        setting.peers,
        setting.liars(),
        real.right,
        real.wrong,
        real.failed,
        real.took.as_secs_f64()
    ));
    if let Some(why) = &real.why {
        output::line(format!("the first that failed: {}", output::clean(why)));
    }
    let rows: Vec<Vec<String>> = compared.iter().map(row).collect();
    output::line(output::table(&["FIGURE", "REAL", "SIMULATED", "95 % OF RUNS", "OFF BY", ""], &rows));
    output::line(
        "bytes are for each provider and second, sent by all; \"control\" is the sum of those below it",
    );
    Ok(())
}

fn row(c: &Compared) -> Vec<String> {
    let (low, high) = c.run();
    let share = c.name == "success";
    let number = |n: f64| if share { format!("{:.1} %", n * 100.0) } else { format!("{n:.1} B") };
    let judged = match c.name {
        "success" if c.lies_within() => "within",
        "success" => "OUTSIDE",
        "control" if c.off().abs() <= WITHIN => "within 20 %",
        "control" => "MORE THAN 20 %",
        _ => "",
    };
    let off = if c.off().abs() < 1e4 { format!("{:+.1} %", c.off() * 100.0) } else { "-".to_owned() };
    vec![
        c.name.to_owned(),
        number(c.real),
        number(c.simulated.mean),
        format!("{} to {}", number(low), number(high)),
        off,
        judged.to_owned(),
    ]
}

/// Whether the simulator tells the truth; what differs most, where it does not.
fn verdict(compared: &[Compared]) -> Result<(), CliError> {
    let named = |name: &str| compared.iter().find(|c| c.name == name);
    let mut wrong = Vec::new();
    if let Some(success) = named("success").filter(|success| !success.lies_within()) {
        let (low, high) = success.run();
        wrong.push(format!(
            "{:.1} % of real workflows succeeded, of simulated ones {:.1} % to {:.1} %",
            success.real * 100.0,
            low * 100.0,
            high * 100.0
        ));
    }
    if let Some(control) = named("control").filter(|control| control.off().abs() > WITHIN) {
        let kinds = compared.iter().filter(|c| !matches!(c.name, "success" | "control"));
        let apart = |c: &&Compared| (c.simulated.mean - c.real).abs();
        let most = kinds.max_by(|a, b| apart(a).total_cmp(&apart(b)));
        let most = most.map_or_else(String::new, |c| {
            format!("; most of it is {}: {:.1} real, {:.1} simulated", c.name, c.real, c.simulated.mean)
        });
        wrong.push(format!(
            "the control plane sent {:.1} bytes, the simulated one {:.1}{most}",
            control.real, control.simulated.mean
        ));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(CliError::new(
            Kind::Verification,
            format!("the simulator differs from the real network: {}", wrong.join("; ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(name: &'static str, real: f64, simulated: &[f64]) -> Compared {
        Compared { name, real, simulated: Sample::of(simulated).unwrap() }
    }

    #[test]
    fn one_run_lies_where_runs_lie_and_not_where_their_mean_does() {
        let values: Vec<f64> = (0..20).map(|n| 0.80 + f64::from(n % 5) * 0.02).collect();
        let near = compared("success", 0.79, &values);
        assert!(near.real < near.simulated.low(), "the mean's interval is too narrow for one run");
        assert!(near.lies_within());
        assert!(!compared("success", 0.70, &values).lies_within());
        assert!(compared("success", 1.0, &[1.0; 20]).lies_within(), "runs that are all alike");
        assert!(!compared("success", 0.99, &[1.0; 20]).lies_within());
    }

    #[test]
    fn what_differs_is_named() {
        let rows = |real| {
            let kinds = [compared("announce", 50.0, &[50.0, 51.0]), compared("find", real, &[50.0, 51.0])];
            let sums = compared("control", 50.0 + real, &[100.0, 102.0]);
            let success = compared("success", 1.0, &[1.0, 1.0]);
            [success, sums].into_iter().chain(kinds).collect::<Vec<_>>()
        };
        assert!(verdict(&rows(55.0)).is_ok());
        let error = verdict(&rows(100.0)).unwrap_err();
        assert_eq!(error.kind, Kind::Verification);
        assert!(error.words().contains("find: 100.0 real, 50.5 simulated"), "{}", error.words());
        assert_eq!(compared("other", 0.0, &[0.0, 0.0]).off(), 0.0);
    }
}

//! What no scenario can say: the advertise plane by itself, and the search for the cheapest level of checks.

use super::{Event, Heard, Options, PaperError, ended, put};
use crate::{
    Span, advertise,
    optimise::{self, OptimiseError, Setup},
    params::Params,
    profile::{Link, Profile},
    report::{Axis, Figure, Line, Of, Parameter, Point, Section, Table, Verdict, number},
    runs::{InMarket, Kept, RunFigures, Runner},
};
use actum_model::id::sha256;
use actum_trust::RiskPolicy;
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Providers of something of their own, and lookups of one of them, in each network.
const PROVIDERS: u32 = 100;
const LOOKUPS: u32 = 100;
/// Networks of so many peers, the largest first, so that no core waits for it in the end.
const PEERS: [u32; 3] = [100_000, 10_000, 1_000];
const PEERS_QUICK: [u32; 2] = [1_000, 300];
/// A link through the Internet: half of a usual round trip within a continent or to the next.
const LINK: Link =
    Link { one_way: Span::from_millis(50), sigma: 0.3, loss: 0.0, bytes_per_second: 1_250_000 };
/// What the largest network may take of what the smallest does, to be called flat: lookups are about the logarithm of peers.
const FLAT: f64 = 3.0;

/// Runs that are over, by everything that they follow from.
struct Runs {
    kept: Kept,
    before: BTreeMap<String, RunFigures>,
}

impl Runs {
    fn open(out: &Path, name: &str, heard: &Heard<'_>) -> Result<Self, PaperError> {
        let (kept, held) = Kept::open(&out.join("runs").join(format!("{name}.jsonl")))?;
        held.warnings.iter().for_each(|warning| heard(Event::Warning(warning)));
        Ok(Self { kept, before: held.runs })
    }

    /// What a run came to: as it was kept, or now.
    fn once<E: From<crate::runs::KeptError>>(
        &self,
        of: &serde_json::Value,
        run: impl FnOnce() -> Result<RunFigures, E>,
    ) -> Result<RunFigures, E> {
        let of = serde_json::json!({"actum": env!("CARGO_PKG_VERSION"), "rules": crate::RULES, "of": of});
        let digest = sha256(of.to_string().as_bytes());
        let key: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        if let Some(figures) = self.before.get(&key) {
            return Ok(figures.clone());
        }
        let figures = run()?;
        self.kept.keep(&key, &figures)?;
        Ok(figures)
    }
}

/// The advertise plane as the network grows.
pub(super) fn advertise(
    options: &Options<'_>,
    profile: &Profile,
    stop: &AtomicBool,
    heard: &Heard<'_>,
) -> Result<Section, PaperError> {
    const NAME: &str = "advertise";
    let runs = Runs::open(options.out, NAME, heard)?;
    let peers: &[u32] = if options.quick { &PEERS_QUICK } else { &PEERS };
    let total = u64::try_from(peers.len()).unwrap_or(u64::MAX);
    heard(Event::Running { name: NAME, done: 0, total });
    let done = AtomicU64::new(0);
    let run = |peers: &u32| {
        let of = serde_json::json!({
            "runner": NAME, "peers": peers, "providers": PROVIDERS, "lookups": LOOKUPS, "link": LINK,
            "weighs": profile.weighs, "seed": options.seed,
        });
        let figures = runs.once(&of, || {
            let setup = advertise::Setup::new(LINK, profile.weighs);
            let figures = advertise::scale_unless(setup, *peers, PROVIDERS, LOOKUPS, options.seed, stop);
            let figures = figures.map_err(|_| PaperError::Stopped)?;
            Ok::<_, PaperError>(figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        })?;
        let done = done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        heard(Event::Running { name: NAME, done, total });
        Ok((*peers, figures))
    };
    let all: Result<BTreeMap<u32, RunFigures>, PaperError> =
        peers.par_iter().with_max_len(1).map(run).collect();
    let section = of_advertise(&all?);
    ended(&section, heard);
    Ok(section)
}

/// What is shown of each network: the figure, and what it is called.
const SHOWN: [(&str, &str); 6] = [
    ("found", "lookups that found the one provider, of 1"),
    ("first_ms", "milliseconds until it was found"),
    ("round_trips", "round trips of a lookup"),
    ("asked", "peers asked in a lookup"),
    ("lookup_bytes", "bytes of a lookup"),
    ("registration_bytes", "bytes a peer and minute for registrations"),
];

fn of_advertise(all: &BTreeMap<u32, RunFigures>) -> Section {
    let get = |figures: &RunFigures, name: &str| figures.get(name).copied().unwrap_or_default();
    let figure = |(name, label): &(&str, &str)| Figure {
        id: format!("advertise-{}", name.replace('_', "-")),
        title: format!("The advertise plane: {label}"),
        x: Axis { label: "peers".to_owned(), log: true, ..Axis::default() },
        y: Axis { label: (*label).to_owned(), ..Axis::default() },
        lines: vec![Line {
            name: "advertise plane".to_owned(),
            points: all
                .iter()
                .map(|(peers, figures)| Point {
                    x: f64::from(*peers),
                    y: get(figures, name),
                    low: None,
                    high: None,
                })
                .collect(),
        }],
    };
    let row = |(peers, figures): (&u32, &RunFigures)| {
        let shown = SHOWN.iter().map(|(name, _)| number(get(figures, name)));
        [number(f64::from(*peers))].into_iter().chain(shown).collect()
    };
    let ours = |name: &str, value: String, why: &str| Parameter {
        name: name.to_owned(),
        value,
        of: Of::Ours,
        why: why.to_owned(),
    };
    Section {
        id: "advertise".to_owned(),
        title: "The advertise plane as the network grows".to_owned(),
        question: "How long does it take to find the one provider of something among up to 100,000 peers when no registry is \
                   asked, and what do registrations cost each peer?"
            .to_owned(),
        figures: SHOWN.iter().filter(|(name, _)| *name != "found").map(figure).collect(),
        tables: vec![Table {
            title: "By the size of the network".to_owned(),
            head: ["peers"].into_iter().chain(SHOWN.map(|(_, label)| label)).map(str::to_owned).collect(),
            rows: all.iter().map(row).collect(),
        }],
        parameters: vec![
            ours("providers", PROVIDERS.to_string(), "each provides something of its own that nobody else has"),
            ours("lookups", LOOKUPS.to_string(), "each for one of those, by a random peer"),
            ours("link", "50 ms one way, σ 0.3".to_owned(), "as through the Internet"),
        ],
        verdicts: of_lookups(all),
        notes: vec!["One seed each, so there are no intervals. Markets do not register their offers here.".to_owned()],
    }
}

/// Whether everybody is found, and how lookups grow.
fn of_lookups(all: &BTreeMap<u32, RunFigures>) -> Vec<Verdict> {
    let verdict = |held: bool, text: String| if held { Verdict::Held(text) } else { Verdict::Missed(text) };
    let get = |figures: &RunFigures, name: &str| figures.get(name).copied().unwrap_or_default();
    let (Some((few, small)), Some((many, large))) = (all.first_key_value(), all.last_key_value()) else {
        return Vec::new();
    };
    let found = all.values().map(|figures| get(figures, "found")).fold(1.0, f64::min);
    let (least, most) = (get(small, "first_ms"), get(large, "first_ms"));
    let (few, many) = (number(f64::from(*few)), number(f64::from(*many)));
    vec![
        verdict(
            found >= 0.99,
            format!(
                "at least 99 of 100 lookups find the one provider in every network: {found:.2} of them at the least"
            ),
        ),
        verdict(
            most <= least * FLAT,
            format!(
                "finding it takes at most {FLAT} times as long among {many} peers as among {few}: {most:.0} ms and {least:.0} ms"
            ),
        ),
    ]
}

/// The search, and `risk.toml`.
pub(super) fn optimise(
    options: &Options<'_>,
    profile: &Profile,
    stop: &AtomicBool,
    heard: &Heard<'_>,
) -> Result<Section, PaperError> {
    const NAME: &str = "optimise";
    let setup = if options.quick { Setup::quick() } else { Setup::full() };
    let runs = Runs::open(options.out, NAME, heard)?;
    let total = u64::try_from(setup.most_runs).unwrap_or(u64::MAX);
    let done = AtomicU64::new(0);
    let run = |params: &Params, policy: &RiskPolicy, seed: u64| {
        let of = serde_json::json!({
            "runner": InMarket.name(), "params": params, "policy": format!("{policy:?}"), "profile": profile, "seed": seed,
        });
        let figures =
            runs.once(&of, || Ok::<_, OptimiseError>(InMarket.run(params, policy, profile, seed, stop)?));
        let done = done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        heard(Event::Running { name: NAME, done, total: total.max(done) });
        figures
    };
    let own = |n: u32| {
        let parts = [&b"actum/optimise@1"[..], &options.seed.to_be_bytes(), &n.to_be_bytes()];
        let first = sha256(&parts.concat()).first_chunk::<8>().copied();
        u64::from_be_bytes(first.unwrap_or_default())
    };
    let seeds: Vec<u64> = (0..setup.seeds).map(own).collect();
    let found = optimise::search(&setup, &seeds, &run, stop)?;
    put(&options.out.join("risk.toml"), &optimise::risk_toml(&found))?;
    let section = optimise::section(&found, &setup);
    ended(&section, heard);
    Ok(section)
}

//! What is asked for: the capability, the inputs, and the right answer to each, known by running it here.

use crate::kinds::LARGE_BYTES;
use actum_capabilities::guests;
use actum_model::{BlobId, Function, Granted, Release, Signed};
use actum_node::{
    Home,
    invoke::{self, Choices},
    provider::Surroundings,
    publish::{Described, publish},
};
use actum_sandbox::host::{Host, KeyvalueAsk, KeyvalueTold, NoHost};
use std::{collections::BTreeMap, error::Error, fmt::Write, fs, path::Path, sync::Arc};

/// One action in so many is about an input that was asked about before, as people's are.
const REPEATED_ONE_IN: u64 = 5;
/// One new input in so many is a large one.
const LARGE_ONE_IN: u64 = 20;
/// How many facts are kept in a bucket.
const FACTS: usize = 200;
/// The bucket.
const BUCKET: &str = "facts";
/// What texts are made of.
const WORDS: [&str; 32] = [
    "harbour", "lantern", "meadow", "barley", "engine", "ferry", "granite", "juniper", "kettle", "ledger",
    "morning", "orchard", "pebble", "quarry", "river", "saddle", "timber", "valley", "window", "anchor",
    "bridge", "copper", "drift", "ember", "field", "of", "the", "and", "to", "in", "is", "was",
];

/// An input, and what is true of it.
pub(crate) struct Task {
    pub(crate) args: Vec<u8>,
    /// The right output, encoded.
    pub(crate) output: Vec<u8>,
    /// The fuel it takes.
    pub(crate) fuel: u64,
}

/// All that is asked for in one run, the same for every provider and every level.
pub(crate) struct Work {
    pub(crate) component: &'static [u8],
    pub(crate) release: Signed<Release>,
    pub(crate) function: Function,
    tasks: Vec<Task>,
    order: Vec<usize>,
    /// What an offer has to allow.
    pub(crate) allow: Option<&'static str>,
    /// What each action is granted.
    pub(crate) granted: Option<&'static str>,
    facts: BTreeMap<String, Vec<u8>>,
}

/// What has to be kept with a provider before it can be asked for it.
pub(crate) struct Keep {
    pub(crate) function: &'static str,
    pub(crate) args: serde_json::Value,
    pub(crate) granted: &'static str,
}

impl Work {
    /// The tasks in the order in which they are asked for.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.order.iter().filter_map(|index| self.tasks.get(*index))
    }

    pub(crate) fn choices(&self) -> Result<Choices, Box<dyn Error>> {
        choices(self.granted)
    }

    pub(crate) fn keep(&self) -> Option<Keep> {
        let pairs: Vec<_> = self.facts.iter().map(|(key, value)| (key, base64(value))).collect();
        (!pairs.is_empty()).then(|| Keep {
            function: "batch",
            args: serde_json::json!({"bucket": BUCKET, "pairs": pairs}),
            granted: "keyvalue:facts",
        })
    }

    /// Counting the words of texts: nothing but arguments decides.
    pub(crate) fn pure(author: &Home, dir: &Path, actions: usize, seed: u64) -> Result<Self, Box<dyn Error>> {
        let mut draw = Draw(seed);
        let mut texts: Vec<String> = Vec::new();
        let mut order = Vec::with_capacity(actions);
        while order.len() < actions {
            if !texts.is_empty() && draw.below(REPEATED_ONE_IN) == 0 {
                order.push(draw.index(texts.len()));
                continue;
            }
            let bytes = match draw.below(LARGE_ONE_IN) {
                0 => LARGE_BYTES + draw.index(LARGE_BYTES),
                _ => 100 + draw.index(700),
            };
            order.push(texts.len());
            texts.push(text(&mut draw, bytes));
        }
        let asked = texts.into_iter().map(|text| serde_json::json!({"text": text})).collect();
        let component = actum_capabilities::TEXT_STATS.component;
        let described = Manifest {
            name: "text-stats",
            intent: "Count the words, sentences and lines of a text",
            permissions: "[]",
        };
        let release = described.publish(author, dir, component)?;
        Self::known(author, component, release, "count-words", (asked, order), (None, None), BTreeMap::new())
    }

    /// Reading facts from a bucket that the provider keeps: what the world says, which no replay can know.
    pub(crate) fn of_the_world(
        author: &Home,
        dir: &Path,
        actions: usize,
        seed: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let mut draw = Draw(seed);
        let facts: BTreeMap<String, Vec<u8>> =
            (0..FACTS).map(|n| (format!("fact-{n:03}"), text(&mut draw, 40).into_bytes())).collect();
        let order = (0..actions).map(|_| draw.index(facts.len())).collect();
        let asked = facts.keys().map(|key| serde_json::json!({"bucket": BUCKET, "key": key})).collect();
        let component = guests::NOTES.component;
        let described =
            Manifest { name: "notes", intent: "Keep notes in a bucket", permissions: "[\"keyvalue\"]" };
        let release = described.publish(author, dir, component)?;
        let grants = (Some("keyvalue:facts"), Some("keyvalue:facts:read"));
        Self::known(author, component, release, "get", (asked, order), grants, facts)
    }

    fn known(
        author: &Home,
        component: &'static [u8],
        release: Signed<Release>,
        function: &str,
        (asked, order): (Vec<serde_json::Value>, Vec<usize>),
        (allow, granted): (Option<&'static str>, Option<&'static str>),
        facts: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, Box<dyn Error>> {
        let function = release.payload().function(function)?.clone();
        let sandbox = author.sandbox()?;
        let loaded = sandbox.load(component)?;
        let host: Arc<dyn Host> = match facts.is_empty() {
            true => Arc::new(NoHost),
            false => Arc::new(Facts(facts.clone())),
        };
        let around = Surroundings { host, ..Surroundings::default() };
        let mut tasks = Vec::with_capacity(asked.len());
        for json in asked {
            let args = invoke::encode_args(&function, &json, &mut |_| Err("no files here".to_owned()))?;
            let action = invoke::action(author.did(), *loaded.id(), &function, &args, choices(granted)?);
            let done = sandbox.execute_in(&loaded, &action, &args, &around)?;
            let output = done.output.ok_or_else(|| format!("{function} gave {}", done.outcome))?;
            tasks.push(Task { args, output, fuel: done.fuel });
        }
        Ok(Self { component, release, function, tasks, order, allow, granted, facts })
    }

    /// A digest of everything that is asked for, to compare runs by.
    pub(crate) fn id(&self) -> BlobId {
        BlobId::of(
            &self.tasks().flat_map(|task| BlobId::of(&task.args).digest().to_vec()).collect::<Vec<u8>>(),
        )
    }
}

fn choices(granted: Option<&str>) -> Result<Choices, Box<dyn Error>> {
    let permissions = granted.map(str::parse::<Granted>).transpose()?.into_iter().collect();
    Ok(Choices { permissions, ..Choices::default() })
}

struct Manifest {
    name: &'static str,
    intent: &'static str,
    permissions: &'static str,
}

impl Manifest {
    fn publish(
        &self,
        author: &Home,
        dir: &Path,
        component: &[u8],
    ) -> Result<Signed<Release>, Box<dyn Error>> {
        let Self { name, intent, permissions } = self;
        let (path, manifest) = (dir.join(format!("{name}.wasm")), dir.join(format!("{name}.toml")));
        fs::write(&path, component)?;
        let text = format!(
            "name = {name:?}\nversion = \"0.1.0\"\nintent = {intent:?}\npermissions = {permissions}\n"
        );
        fs::write(&manifest, text)?;
        Ok(publish(author, &path, Described { manifest: Some(manifest), ..Described::default() })?)
    }
}

/// The world as it is.
struct Facts(BTreeMap<String, Vec<u8>>);

impl Host for Facts {
    fn keyvalue(&self, _: &str, ask: KeyvalueAsk) -> Result<KeyvalueTold, String> {
        match ask {
            KeyvalueAsk::Get(keys) => {
                Ok(KeyvalueTold::Values(keys.iter().map(|key| self.0.get(key).cloned()).collect()))
            }
            _ => Err("it is only read here".to_owned()),
        }
    }
}

/// A stream of numbers that is the same for the same seed (SplitMix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }

    fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }
}

fn text(draw: &mut Draw, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        match draw.below(12) {
            0 => {
                let _ = write!(text, "{}", draw.below(10_000));
            }
            _ => text.push_str(WORDS.get(draw.index(WORDS.len())).copied().unwrap_or("the")),
        }
        text.push_str(match draw.below(20) {
            0 => ".\n\n",
            1 | 2 => ". ",
            _ => " ",
        });
    }
    text
}

/// The standard alphabet, padded, as `list<u8>` stands in JSON.
fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

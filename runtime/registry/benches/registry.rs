//! A registry of many descriptors: how fast it takes them in, what each costs in memory, what a query costs over the bare search
//! library's on the same index, and how soon it is there again after a restart.
//!
//! `cargo bench -p actum-registry --bench registry -- [descriptors]`; 50,000 by default, which takes a minute.
//!
//! Descriptors are distinct, fifty a provider, of words that follow Zipf's law. All are signed; they are taken in as what was verified
//! before, and what verifying adds is measured apart. Queries are run by a second process, so that no memory of making descriptors
//! counts, and interleaved with the library's own: the same words and lists, its own collector, best ten, no documents. Both are
//! given the thread's own processor time; what the clock on the wall says of ours stands beside it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops at its first surprise")]

use actum_discovery::Term as Word;
use actum_model::{descriptor::Offered, *};
use actum_registry::{Probe, Registry, RegistryLimits};
use rustix::time::{ClockId, clock_gettime};
use serde_bytes::ByteArray;
use std::{
    ops::Bound,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tantivy::{
    Index, Searcher, Term,
    collector::TopDocs,
    query::{BooleanQuery, BoostQuery, ConstScoreQuery, Occur, Query as Search, RangeQuery, TermQuery},
    schema::IndexRecordOption,
};

const NOW: u64 = 1_800_000_000;
const PER_PROVIDER: usize = 50;
const WORDS: usize = 30_000;
const QUERIES: usize = 400;
/// Descriptors made and signed before they are taken in.
const AT_ONCE: usize = 10_000;
/// Descriptors whose verification is measured.
const VERIFIED: usize = 5_000;
const REGIONS: [&str; 8] = ["de", "fr", "us", "us-ca", "us-ny", "jp", "br", "in"];

/// SplitMix64: the same descriptors every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A word's number: the first come as often as Zipf's law says, a word's frequency being one over its rank.
    fn word(&mut self) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((WORDS as f64).powf(unit) - 1.0) as usize
    }
}

/// A pronounceable word of its own for each number.
fn spelt(mut n: usize) -> String {
    let mut word = String::new();
    n += 19;
    while n > 0 {
        word.push(char::from(b"bdfgklmnprtvz"[n % 13]));
        n /= 13;
        word.push(char::from(b"aeiou"[n % 5]));
        n /= 5;
    }
    word
}

fn text(random: &mut Random, words: usize) -> String {
    (0..words).map(|_| spelt(random.word())).collect::<Vec<_>>().join(" ")
}

fn secret(provider: usize) -> SecretKey {
    SecretKey::from_seed(&id::sha256(&provider.to_be_bytes()))
}

/// Which release the `n`th descriptor offers: in a third of them one that others offer too. No provider offers one twice.
fn release(n: usize) -> usize {
    let others = n / PER_PROVIDER / 10 + 1;
    if n.is_multiple_of(3) { n % PER_PROVIDER + PER_PROVIDER * Random(n as u64).below(others) } else { n }
}

fn descriptor(n: usize) -> Descriptor {
    let of = release(n);
    let random = &mut Random(of as u64 + 1_000_000_007);
    let name = format!("{}-{}", spelt(random.word()), spelt(random.below(WORDS)));
    let interface = format!("{}:{}/api@0.{}.0", spelt(random.word()), name, random.below(3));
    let functions = (0..1 + random.below(4)).map(|_| {
        let (function, docs) = (spelt(random.word()), text(random, 9));
        let signature = format!(
            "{function}({}: string, {}: list<u8>) -> result<string>",
            spelt(random.word()),
            spelt(random.word())
        );
        Offered { name: format!("{interface}#{function}").parse().unwrap(), docs, signature }
    });
    let functions = functions.collect();
    let permissions =
        if random.below(4) == 0 { [Permission::ALL[random.below(6)]].into() } else { Default::default() };
    Descriptor {
        iss: secret(n / PER_PROVIDER).did(),
        release: ReleaseId::of(&of.to_be_bytes()),
        author: secret(of % 997).did(),
        name: name.parse().unwrap(),
        version: format!("1.{}.0", random.below(20)).parse().unwrap(),
        component: ComponentId::of(&of.to_be_bytes()),
        component_bytes: 100_000,
        manifest: BlobId::of(&of.to_be_bytes()),
        intent: text(random, 12),
        tags: (0..4).map(|_| spelt(random.word())).collect(),
        functions,
        permissions,
        profile: ProfileId::of(b"profile"),
        limits: Limits::default(),
        price: random.below(100) as u64,
        region: Some(REGIONS[n / PER_PROVIDER % 8].parse().unwrap()),
        public: true,
        tiers: Tier::ALL.into(),
        verdicts: vec![],
        seq: 1,
        nbf: NOW,
        exp: NOW + 86_400,
    }
}

fn lease(provider: usize, seq: u64) -> Signed<Lease> {
    let secret = secret(provider);
    let lease = Lease {
        iss: secret.did(),
        addrs: vec!["/ip4/203.0.113.7/tcp/4001".to_owned(), "/ip4/203.0.113.7/udp/4001/quic-v1".to_owned()],
        load: (provider % 8) as u32,
        queued: 0,
        capacity: 8,
        lately: None,
        descriptors_seq: 1,
        seq,
        nbf: NOW,
        exp: NOW + 900,
    };
    Signed::sign(lease, &secret)
}

fn limits(count: usize) -> RegistryLimits {
    RegistryLimits { descriptors: count.max(1_000_000), ..RegistryLimits::default() }
}

/// Signed descriptors from `from` on, made on all cores.
fn signed(from: usize, to: usize) -> Vec<Signed<Descriptor>> {
    let half = from + (to - from) / 2;
    let make = |from, to| {
        (from..to).map(|n| Signed::sign(descriptor(n), &secret(n / PER_PROVIDER))).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(move || make(half, to));
        let mut made = make(from, half);
        made.extend(other.join().unwrap());
        made
    })
}

/// Memory of this process that is no file's, in bytes.
fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn disk(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files.map(|f| if f.path().is_dir() { disk(&f.path()) } else { f.metadata().unwrap().len() }).sum()
}

fn used() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("serve") => serve(Path::new(&args[1]), args[2].parse().unwrap()),
        count => ingest(count.map_or(50_000, |count| count.parse().unwrap())),
    }
}

fn ingest(count: usize) {
    let dir = tempfile::TempDir::new().unwrap();
    let registry = Registry::open(dir.path(), limits(count), NOW).unwrap();
    let (mut took, mut bytes, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
    for from in (0..count).step_by(AT_ONCE) {
        let made = signed(from, (from + AT_ONCE).min(count));
        for descriptor in &made {
            bytes += descriptor.bytes().len();
            let start = Instant::now();
            registry.observe_descriptor(descriptor, NOW).unwrap();
            took += start.elapsed();
            longest = longest.max(start.elapsed());
        }
    }
    let start = Instant::now();
    registry.commit().unwrap();
    took += start.elapsed();
    let rate = |n: usize, took: Duration| n as f64 / took.as_secs_f64();
    println!("{count} descriptors of {} bytes", bytes / count);
    println!(
        "taken in, indexed, durable   {:.0} a second; the longest commit {longest:.1?}",
        rate(count, took)
    );
    let some: Vec<_> = signed(0, VERIFIED.min(count)).into_iter().map(|d| d.bytes().to_vec()).collect();
    let start = Instant::now();
    some.iter().for_each(|bytes| drop(Signed::<Descriptor>::verify(bytes).unwrap()));
    println!("verifying them               {:.0} a second", rate(some.len(), start.elapsed()));
    let providers = count.div_ceil(PER_PROVIDER);
    for seq in 1..=2 {
        let leases: Vec<_> = (0..providers).map(|provider| lease(provider, seq)).collect();
        let start = Instant::now();
        for lease in &leases {
            registry.observe_lease(lease, NOW).unwrap();
        }
        registry.commit().unwrap();
        println!(
            "leases, {}               {:.0} a second",
            if seq == 1 { "new" } else { "refreshed" },
            rate(providers, start.elapsed())
        );
    }
    let start = Instant::now();
    println!("holdings to reconcile        {} in {:.1?}", registry.holdings(NOW).len(), start.elapsed());
    drop(registry);
    println!("on disk                      {} bytes each", disk(dir.path()) / count as u64);
    let served = Command::new(std::env::current_exe().unwrap())
        .args(["serve".as_ref(), dir.path().as_os_str(), count.to_string().as_ref()])
        .status()
        .unwrap();
    assert!(served.success());
}

fn query(n: usize, count: usize) -> Query {
    let random = &mut Random(n as u64 + 77);
    let of = descriptor(random.below(count));
    // What somebody would type who wants this one: two to five of its words, now and then one of its own.
    let words: Vec<_> = of.intent.split(' ').chain(of.tags.iter().map(String::as_str)).collect();
    let text =
        (0..2 + random.below(4)).map(|_| words[random.below(words.len())]).collect::<Vec<_>>().join(" ");
    let iss = secret(0).did();
    Query { iss, aud: iss, text, filters: Filters::default(), limit: 10, nonce: ByteArray::new([0; 12]) }
}

/// The same query with a constraint: in turn an interface, a region, a price, a permission.
fn constrained(n: usize, count: usize) -> Query {
    let query = query(n, count);
    let of = descriptor(Random(n as u64 + 77).below(count));
    let interface = of.functions[0].name.interface().map(str::to_owned);
    let filters = match n % 4 {
        0 => Filters { interface, ..Filters::default() },
        1 => Filters { region: of.region, ..Filters::default() },
        2 => Filters { max_price: Some(of.price), ..Filters::default() },
        _ => Filters { needs_no: [Permission::Network].into(), ..Filters::default() },
    };
    Query { filters, ..query }
}

/// The search library's own query: the same lists, and a range where a constraint has no list.
fn bare(searcher: &Searcher, query: &Query) -> usize {
    let field = |name| searcher.schema().get_field(name).unwrap();
    let term = |stem: &str| -> Box<dyn Search> {
        Box::new(TermQuery::new(Term::from_field_text(field("stems"), stem), IndexRecordOption::WithFreqs))
    };
    let words = Word::all(&query.text);
    let weaker = words
        .iter()
        .flat_map(|w| &w.synonyms)
        .map(|s| -> Box<dyn Search> { Box::new(BoostQuery::new(term(s), 0.5)) });
    let words: Box<dyn Search> =
        Box::new(BooleanQuery::union(words.iter().map(|w| term(&w.stem)).chain(weaker).collect()));
    let fact = |text: String| -> Box<dyn Search> {
        let term = Term::from_field_text(field("facts"), &text);
        Box::new(ConstScoreQuery::new(Box::new(TermQuery::new(term, IndexRecordOption::Basic)), 0.0))
    };
    let filters = &query.filters;
    let mut all = vec![(Occur::Must, words)];
    all.extend(filters.interface.as_ref().map(|i| (Occur::Must, fact(format!("i{i}")))));
    all.extend(filters.region.as_ref().map(|r| (Occur::Must, fact(format!("g{r}")))));
    if let Some(most) = filters.max_price {
        let most = Bound::Included(Term::from_field_u64(field("price"), most));
        let range = ConstScoreQuery::new(Box::new(RangeQuery::new(Bound::Unbounded, most)), 0.0);
        all.push((Occur::Must, Box::new(range)));
    }
    let query: Box<dyn Search> = match all.len() {
        1 => all.pop().unwrap().1,
        _ => Box::new(BooleanQuery::new(all)),
    };
    searcher.search(&*query, &TopDocs::with_limit(10).order_by_score()).unwrap().len()
}

fn serve(dir: &Path, count: usize) {
    let before = own_memory();
    let start = Instant::now();
    let registry = Registry::open(dir, limits(count), NOW).unwrap();
    println!("there again after a restart  {:.2?}", start.elapsed());
    assert_eq!((registry.damage(), registry.stats().descriptors), (None, count));
    let opened = own_memory();
    println!("memory that is no file's     {} bytes each", opened.saturating_sub(before) / count as u64);
    let index = Index::open_in_dir(dir.join("words")).unwrap();
    let searcher = index.reader().unwrap().searcher();
    println!("segments                     {}", searcher.segment_readers().len());
    measure("words, nobody probed", &registry, &searcher, count, query);
    probe(&registry, count, 100);
    measure("words, one in a hundred answered", &registry, &searcher, count, query);
    probe(&registry, count, 1);
    measure("words, all answered", &registry, &searcher, count, query);
    measure("with a constraint, all answered", &registry, &searcher, count, constrained);
    println!(
        "memory after the queries     {} bytes each",
        own_memory().saturating_sub(before) / count as u64
    );
}

fn probe(registry: &Registry, count: usize, each: usize) {
    for n in (0..count).step_by(each) {
        let signed = Signed::sign(descriptor(n), &secret(n / PER_PROVIDER));
        assert!(registry.probe_result(&id::sha256(signed.bytes()), Probe::Answered, NOW));
        if n.is_multiple_of(50_000) {
            registry.commit().unwrap();
        }
    }
    registry.commit().unwrap();
}

fn measure(
    name: &str,
    registry: &Registry,
    searcher: &Searcher,
    count: usize,
    query: impl Fn(usize, usize) -> Query,
) {
    let (mut ours, mut theirs, mut verified, mut wall) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut found = 0;
    for n in 0..QUERIES + QUERIES / 10 {
        let query = query(n, count);
        let start = used();
        bare(searcher, &query);
        let between = used();
        let clock = Instant::now();
        let offers = registry.offers(&query, NOW).unwrap().len();
        let (end, clock) = (used(), clock.elapsed());
        registry.search(&query, NOW).unwrap();
        if n >= QUERIES / 10 {
            theirs.push(between - start);
            ours.push(end - between);
            wall.push(clock);
            verified.push(used() - end);
            found += offers;
        }
    }
    [&mut ours, &mut theirs, &mut verified, &mut wall].into_iter().for_each(|times| times.sort_unstable());
    let at = |times: &[Duration], percent: usize| times[times.len() * percent / 100];
    println!("{name}: {:.1} offers a query", found as f64 / QUERIES as f64);
    for percent in [50, 99] {
        let (ours, theirs, wall) = (at(&ours, percent), at(&theirs, percent), at(&wall, percent));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        let verified = at(&verified, percent);
        println!(
            "  p{percent}  {ours:>9.2?}  bare {theirs:>9.2?}  {ratio:.2}x  (by the clock {wall:.2?}; verified again {verified:.2?})"
        );
    }
}

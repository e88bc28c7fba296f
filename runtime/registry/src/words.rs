//! The words and the hard facts of every descriptor in a tantivy index: one document each, none of them with the statement
//! itself.
//!
//! The words are those that `actum_discovery` reads, stemmed there, each as often as it weighs: a word in a name counts four
//! times one in a doc comment, in the frequency and in the length alike, so one field ranks as several boosted ones would
//! and a query of few words stays a union of few lists, which the library can cut short.

use crate::{RegistryError, limits::WRITER_BYTES, state::stamp};
use actum_discovery::{Term as Word, Text};
use actum_model::{Descriptor, Filters, Permission, Region, Tier};
use std::{path::Path, sync::Arc};
use tantivy::{
    Index, IndexSettings, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, Term,
    columnar::Column,
    directory::MmapDirectory,
    merge_policy::LogMergePolicy,
    query::{BooleanQuery, BoostQuery, ConstScoreQuery, Occur, Query, TermQuery},
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer},
};

/// What a synonym is worth, against the word itself: as for `actum_discovery::WordRanker`.
const SYNONYM: f32 = 0.5;
/// A region's postings are used where it leaves out seven of eight descriptors; otherwise each match's own region is looked
/// at, which leaves the union of words one that can be cut short.
const SELECTIVE: u64 = 8;
/// Deleted documents are dropped from a segment once they are a fifth of it.
const DELETED: f32 = 0.2;

/// The fields of a document.
#[derive(Clone, Copy, Debug)]
struct Fields {
    stems: Field,
    facts: Field,
    stamp: Field,
    price: Field,
    bits: Field,
    region: Field,
    name: Field,
    version: Field,
}

impl Fields {
    fn schema() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let stems = TextFieldIndexing::default()
            .set_tokenizer("stems")
            .set_index_option(IndexRecordOption::WithFreqs);
        let facts = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let fields = Self {
            stems: schema.add_text_field("stems", TextOptions::default().set_indexing_options(stems)),
            facts: schema.add_text_field("facts", TextOptions::default().set_indexing_options(facts)),
            stamp: schema.add_u64_field("stamp", INDEXED | FAST),
            price: schema.add_u64_field("price", FAST),
            bits: schema.add_u64_field("bits", FAST),
            region: schema.add_u64_field("region", FAST),
            name: schema.add_u64_field("name", FAST),
            version: schema.add_u64_field("version", FAST),
        };
        (schema.build(), fields)
    }
}

/// A fact that is looked up exactly.
pub(crate) enum Fact<'a> {
    Release(&'a [u8]),
    Component(&'a [u8]),
    Name(&'a str),
    Function(&'a str),
    Interface(&'a str),
    Region(&'a str),
    Provider(&'a [u8]),
}

impl Fact<'_> {
    fn text(&self) -> String {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        match self {
            Self::Release(id) => format!("r{}", hex(id)),
            Self::Component(id) => format!("c{}", hex(id)),
            Self::Name(name) => format!("n{name}"),
            Self::Function(name) => format!("f{name}"),
            Self::Interface(name) => format!("i{name}"),
            Self::Region(code) => format!("g{code}"),
            Self::Provider(key) => format!("p{}", hex(key)),
        }
    }
}

/// The facts of a descriptor: what [`Filters`] can ask for by name, and what it is called.
fn facts(d: &Descriptor) -> Vec<String> {
    let mut facts = vec![
        Fact::Release(d.release.digest()).text(),
        Fact::Component(d.component.digest()).text(),
        Fact::Name(d.name.as_str()).text(),
        Fact::Provider(d.iss.as_bytes()).text(),
    ];
    for function in d.functions.iter().map(|f| &f.name) {
        facts.push(Fact::Function(function.name()).text());
        facts.push(Fact::Function(&function.to_string()).text());
        let Some(interface) = function.interface() else { continue };
        let unversioned = interface.split('@').next().unwrap_or(interface);
        facts.push(Fact::Function(&format!("{unversioned}#{}", function.name())).text());
        facts.push(Fact::Interface(interface).text());
        facts.push(Fact::Interface(unversioned).text());
    }
    if let Some(region) = &d.region {
        facts.push(Fact::Region(region.as_str()).text());
        // Of one part at most: `us-ca` is in `us`.
        let country = region.as_str().split('-').next().unwrap_or_default();
        facts.push(Fact::Region(country).text());
    }
    facts.sort();
    facts.dedup();
    facts
}

/// Permissions and tiers, a bit each: permissions from bit 0, tiers from bit 32.
pub(crate) fn bits<'a>(
    permissions: impl IntoIterator<Item = &'a Permission>,
    tiers: impl IntoIterator<Item = &'a Tier>,
) -> u64 {
    let permissions = permissions.into_iter().map(|p| 1 << (*p as u64));
    let tiers = tiers.into_iter().map(|t| 1 << (32 + *t as u64));
    permissions.chain(tiers).fold(0, |bits, bit: u64| bits | bit)
}

/// A region's code, at most six letters, as a number: a region's first letters are its number's first bytes.
fn packed(code: &str) -> u64 {
    code.bytes().take(8).fold((0, 64), |(packed, at), byte| (packed | u64::from(byte) << (at - 8), at - 8)).0
}

/// Whether a packed region is a region or a part of it.
fn is_in(region: u64, asked: &Region) -> bool {
    let code = asked.as_str();
    let part = |tail| region & packed_mask(code.len() + 1) == packed(&format!("{code}{tail}"));
    region == packed(code) || part('-')
}

fn packed_mask(letters: usize) -> u64 {
    !u64::MAX.checked_shr(8 * letters as u32).unwrap_or(0)
}

/// A version as a number that orders as versions do, where no part exceeds a million and pre-releases of one version are
/// alike: 21 bits each, and one for being a release.
fn ordered(version: &semver::Version) -> u64 {
    let part = |n: u64| n.min((1 << 21) - 1);
    part(version.major) << 43
        | part(version.minor) << 22
        | part(version.patch) << 1
        | u64::from(version.pre.is_empty())
}

/// Gives out stems as often as they weigh: `count 4\nword 3`.
#[derive(Clone, Default)]
struct Stems(Token);

struct StemStream<'a> {
    rest: std::str::Lines<'a>,
    times: u32,
    token: &'a mut Token,
}

impl Tokenizer for Stems {
    type TokenStream<'a> = StemStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> StemStream<'a> {
        self.0.reset();
        StemStream { rest: text.lines(), times: 0, token: &mut self.0 }
    }
}

impl TokenStream for StemStream<'_> {
    fn advance(&mut self) -> bool {
        self.token.position = self.token.position.wrapping_add(1);
        while self.times == 0 {
            let Some((stem, weight)) = self.rest.next().and_then(|line| line.split_once(' ')) else {
                return false;
            };
            self.token.text.clear();
            self.token.text.push_str(stem);
            self.times = weight.parse().unwrap_or(0);
        }
        self.times -= 1;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// The numbers of one segment's documents.
pub(crate) struct Columns {
    pub(crate) stamp: Column<u64>,
    pub(crate) name: Column<u64>,
    pub(crate) version: Column<u64>,
    price: Column<u64>,
    bits: Column<u64>,
    region: Column<u64>,
}

/// The hard constraints that each match's numbers are held to.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    max_price: Option<u64>,
    /// Bits that may not be set, and bits that must.
    without: u64,
    with: u64,
    region: Option<Region>,
}

impl Numbers {
    pub(crate) fn of(filters: &Filters) -> Self {
        let mut without = bits(&filters.needs_no, []);
        if filters.needs_no.contains(&Permission::Network) {
            without |= bits(&[Permission::Http], []);
        }
        Self {
            max_price: filters.max_price,
            without,
            with: bits([], &filters.tiers),
            region: filters.region.clone(),
        }
    }

    /// Whether a document fulfils them.
    pub(crate) fn hold(&self, columns: &Columns, doc: u32) -> bool {
        let of = |column: &Column<u64>| column.first(doc).unwrap_or_default();
        let bits = if self.with | self.without == 0 { 0 } else { of(&columns.bits) };
        bits & self.without == 0
            && bits & self.with == self.with
            && self.max_price.is_none_or(|most| of(&columns.price) <= most)
            && self.region.as_ref().is_none_or(|asked| is_in(of(&columns.region), asked))
    }
}

/// What the index held at one commit.
pub(crate) struct Snapshot {
    pub(crate) searcher: Searcher,
    pub(crate) columns: Vec<Columns>,
    /// The commit's epoch: what was taken in later may say something else than its document.
    pub(crate) epoch: u64,
    fields: Fields,
}

impl Snapshot {
    fn term(&self, fact: &Fact<'_>) -> Term {
        Term::from_field_text(self.fields.facts, &fact.text())
    }

    /// What a fact is true of.
    pub(crate) fn fact(&self, fact: &Fact<'_>) -> Box<dyn Query> {
        Box::new(TermQuery::new(self.term(fact), IndexRecordOption::Basic))
    }

    /// What holds any of the words, ranked.
    pub(crate) fn words(&self, words: &[Word]) -> Box<dyn Query> {
        let query = |stem: &str| -> Box<dyn Query> {
            let term = Term::from_field_text(self.fields.stems, stem);
            Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
        };
        let synonyms = words.iter().flat_map(|w| &w.synonyms);
        let weaker =
            synonyms.map(|stem| -> Box<dyn Query> { Box::new(BoostQuery::new(query(stem), SYNONYM)) });
        let mut any: Vec<_> = words.iter().map(|w| query(&w.stem)).chain(weaker).collect();
        match (any.pop(), any.is_empty()) {
            // Alone it can be cut short; as a union of one it would not be.
            (Some(one), true) => one,
            (one, _) => Box::new(BooleanQuery::union(any.into_iter().chain(one).collect())),
        }
    }

    /// What fulfils `main` and those filters that have lists of their own. What [`Numbers`] says is not looked at here.
    pub(crate) fn within(&self, main: Box<dyn Query>, filters: &Filters) -> tantivy::Result<Box<dyn Query>> {
        let mut facts = Vec::new();
        facts.extend(filters.function.as_deref().map(Fact::Function));
        facts.extend(filters.interface.as_deref().map(Fact::Interface));
        facts.extend(filters.provider.as_ref().map(|p| Fact::Provider(p.as_bytes())));
        if let Some(region) = filters.region.as_ref().map(|r| Fact::Region(r.as_str()))
            && self.searcher.doc_freq(&self.term(&region))? * SELECTIVE < self.searcher.num_docs()
        {
            facts.push(region);
        }
        if facts.is_empty() {
            return Ok(main);
        }
        let facts = facts
            .iter()
            .map(|fact| -> Box<dyn Query> { Box::new(ConstScoreQuery::new(self.fact(fact), 0.0)) });
        let all = std::iter::once(main).chain(facts).map(|query| (Occur::Must, query));
        Ok(Box::new(BooleanQuery::new(all.collect())))
    }
}

/// The index on disk.
pub(crate) struct Words {
    index: Index,
    fields: Fields,
}

impl Words {
    /// Opens or makes the index. Every file of it is read once, against its checksum.
    pub(crate) fn open(dir: &Path) -> Result<Self, tantivy::TantivyError> {
        let (schema, fields) = Fields::schema();
        let mmap = MmapDirectory::open(dir)?;
        let settings =
            IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
        let index = Index::builder().schema(schema).settings(settings).open_or_create(mmap)?;
        index.tokenizers().register("stems", TextAnalyzer::builder(Stems::default()).build());
        let damaged = index.validate_checksum()?;
        if let Some(file) = damaged.iter().min() {
            let why = format!("{} has another checksum", file.display());
            return Err(tantivy::TantivyError::InternalError(why));
        }
        Ok(Self { index, fields })
    }

    /// The epoch of the last commit; 0 before the first.
    pub(crate) fn epoch(&self) -> Result<u64, tantivy::TantivyError> {
        let payload = self.index.load_metas()?.payload;
        let unread = |_| tantivy::TantivyError::InternalError("the commit names no epoch".to_owned());
        payload.map_or(Ok(0), |epoch| epoch.parse().map_err(unread))
    }

    pub(crate) fn writer(&self) -> tantivy::Result<IndexWriter> {
        let writer = self.index.writer_with_num_threads(1, WRITER_BYTES)?;
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(DELETED);
        writer.set_merge_policy(Box::new(policy));
        Ok(writer)
    }

    /// Puts a descriptor's document in the place of the one of its slot.
    pub(crate) fn say(
        &self,
        writer: &IndexWriter,
        slot: u32,
        generation: u32,
        d: &Descriptor,
        replaces: bool,
    ) -> tantivy::Result<()> {
        let f = self.fields;
        let stamp = stamp(slot, generation);
        if replaces {
            self.unsay(writer, stamp);
        }
        let mut stems = String::new();
        for (stem, weight) in Text::of(d).stems() {
            stems.push_str(stem);
            stems.push(' ');
            stems.push_str(&weight.to_string());
            stems.push('\n');
        }
        let mut doc = TantivyDocument::default();
        doc.add_text(f.stems, stems);
        facts(d).into_iter().for_each(|fact| doc.add_text(f.facts, fact));
        doc.add_u64(f.stamp, stamp);
        doc.add_u64(f.price, d.price);
        doc.add_u64(f.bits, bits(&d.permissions, &d.tiers));
        doc.add_u64(f.region, d.region.as_ref().map_or(0, |r| packed(r.as_str())));
        doc.add_u64(f.name, packed(d.name.as_str()));
        doc.add_u64(f.version, ordered(&d.version));
        writer.add_document(doc).map(drop)
    }

    /// Deletes a document.
    pub(crate) fn unsay(&self, writer: &IndexWriter, stamp: u64) {
        writer.delete_term(Term::from_field_u64(self.fields.stamp, stamp));
    }

    /// Makes what was said and unsaid durable.
    pub(crate) fn commit(writer: &mut IndexWriter, epoch: u64) -> tantivy::Result<()> {
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&epoch.to_string());
        commit.commit().map(drop)
    }

    /// What the last commit holds.
    pub(crate) fn snapshot(&self, epoch: u64) -> Result<Arc<Snapshot>, RegistryError> {
        let reader = self.index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let columns = searcher.segment_readers().iter().map(|segment| {
            let columns = segment.fast_fields();
            Ok(Columns {
                stamp: columns.u64("stamp")?,
                name: columns.u64("name")?,
                version: columns.u64("version")?,
                price: columns.u64("price")?,
                bits: columns.u64("bits")?,
                region: columns.u64("region")?,
            })
        });
        let columns = columns.collect::<tantivy::Result<_>>()?;
        Ok(Arc::new(Snapshot { searcher, columns, epoch, fields: self.fields }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_regions_and_versions_order_and_contain_as_the_real_ones_do() {
        let regions = ["de", "us", "us-c", "us-ca", "us-cal", "ua"].map(|r| r.parse::<Region>().unwrap());
        for a in &regions {
            for b in &regions {
                assert_eq!(is_in(packed(a.as_str()), b), a.is_in(b), "{a} in {b}");
                assert_eq!(packed(a.as_str()).cmp(&packed(b.as_str())), a.cmp(b));
            }
            assert!(!is_in(0, a));
        }
        let versions = ["0.0.1", "0.1.0", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0"];
        let versions = versions.map(|v| v.parse().unwrap());
        assert!(versions.windows(2).all(|w| ordered(&w[0]) < ordered(&w[1])));
    }

    #[test]
    fn a_stem_is_given_out_as_often_as_it_weighs() {
        let mut tokenizer = Stems::default();
        let mut stream = tokenizer.token_stream("count 2\nword 1\nnone 0\n");
        let mut given = Vec::new();
        while stream.advance() {
            given.push(stream.token().text.clone());
        }
        assert_eq!(given, ["count", "count", "word"]);
    }
}

//! Files of each persistent type in format version 1, kept for ever: they decode, re-encode to themselves, and are what
//! the same values give today. `ACTUM_BLESS=1` writes them anew, which is allowed until the first release.

use crate::samples::{self, author, provider, requester};
use actum_model::{
    Attestation, Balance, Delegation, Descriptor, Invocation, Journal, JournalId, Lease, Page, Profile,
    ProfileId, Proof, Query, Receipt, Release, Revocation, Rotation, Signed, Statement, Tombstone, Verdict,
    bundle::Bundle,
    codec,
    id::{DAG_CBOR, cid_of},
};

fn golden(name: &str, built: &[u8], id: &str) -> Vec<u8> {
    let kept = kept(&format!("{name}.cbor"), built);
    assert_eq!(cid_of(DAG_CBOR, &kept).to_string(), id, "{name}");
    kept
}

fn kept(name: &str, built: &[u8]) -> Vec<u8> {
    let path = format!("{}/tests/golden/v1/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ACTUM_BLESS").is_some() {
        std::fs::write(&path, built).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    assert_eq!(kept, built, "the format of {name} has changed");
    kept
}

fn statement<T: Statement>(name: &str, built: &Signed<T>, id: &str) {
    let kept = golden(name, built.bytes(), id);
    let read = Signed::<T>::verify(&kept).unwrap();
    assert_eq!(codec::encode(read.payload()), codec::encode(built.payload()));
    assert_eq!(read.bytes(), kept);
}

#[test]
fn release() {
    let built: Signed<Release> = Signed::sign(samples::release(), &author());
    statement("release", &built, "bafyreibtlyz2hauoftjpzzhb4hpctxg6gicvjgyq7o7ji253puvebldbli");
}

#[test]
fn descriptor() {
    let built: Signed<Descriptor> = Signed::sign(samples::descriptor(), &provider());
    statement("descriptor", &built, "bafyreicalszzlxnklnv2vpmhsemlexxiudiz5slc2shuviusdw2ojmysvm");
}

#[test]
fn lease() {
    let built: Signed<Lease> = Signed::sign(samples::lease(), &provider());
    statement("lease", &built, "bafyreig2g2cy4fmoelx6jgq2wmu2bis7fzvkvdd3l6vgjnvu4lubf2vhca");
}

#[test]
fn tombstone() {
    let built: Signed<Tombstone> = Signed::sign(samples::tombstone(), &provider());
    statement("tombstone", &built, "bafyreigot462vb5xruek5vknsm2nbxg3uzng6fbfi24womj2am4uurqxwu");
}

#[test]
fn receipt() {
    let built: Signed<Receipt> = Signed::sign(samples::receipt(), &provider());
    statement("receipt", &built, "bafyreiagrbvf7uu7ueaqn534b4ee76hya53zjcpapwuo7xibex2lbimpu4");
}

#[test]
fn a_receipt_by_a_chain_of_delegations() {
    let built: Signed<Receipt> = Signed::sign(samples::granted_receipt(), &provider());
    statement("receipt-granted", &built, "bafyreihhj6xsh2ec56mmf2nsv75myfdreis6hhzdzffc6uucuuwdpie4ty");
}

#[test]
fn a_bundle_with_the_authority_by_which_it_ran() {
    let built = samples::granted_bundle();
    let kept = kept("bundle-granted.car", &built.to_bytes());
    assert_eq!(Bundle::from_bytes(&kept).unwrap(), built);
}

#[test]
fn attestation() {
    let receipt = Signed::sign(samples::receipt(), &provider()).id();
    let built = Attestation::new(receipt, "tpm2-quote@1", vec![1, 2, 3]).unwrap();
    let kept =
        golden("attestation", built.bytes(), "bafyreihr2asnld2j6uctxzkz2won47u4ov33hrgnfo3nylcjobgnxrpjua");
    assert_eq!(Attestation::read(&kept).unwrap(), built);
}

/// What was written before bundles had the request: only a bundle without it.
#[test]
fn a_bundle_without_its_request() {
    let built = Bundle { invocation: None, proofs: vec![], ..samples::granted_bundle() };
    let kept = kept("bundle.car", &built.to_bytes());
    assert_eq!(Bundle::from_bytes(&kept).unwrap(), built);
}

#[test]
fn verdict() {
    let built: Signed<Verdict> = Signed::sign(samples::verdict(), &requester());
    statement("verdict", &built, "bafyreih7i365qfy3ppa7zsf3uimz35skykqjgwsbgfxtlvyhwbwt3m7yoq");
}

#[test]
fn balance() {
    let built: Signed<Balance> = Signed::sign(samples::balance(), &provider());
    statement("balance", &built, "bafyreibybepqhugwie6g5djhrq7gayomxqnnrpzffpfqjmyaow42vlm7cq");
}

#[test]
fn flow() {
    let built = crate::flows::flow().record;
    statement("flow", &built, "bafyreiffoq6nn35ccc4n46eqwc32reuk5xwekabxbtteggfva2zztgqmx4");
}

#[test]
fn query() {
    let built: Signed<Query> = Signed::sign(samples::query(), &requester());
    statement("query", &built, "bafyreieixh3auvdelg6cax7xamwjpyynlhddqrt4hjxvqserywttxo3tnm");
}

#[test]
fn page() {
    let built: Signed<Page> = Signed::sign(samples::page(), &provider());
    statement("page", &built, "bafyreig7f22kdqujlxhpilm5cr6jfxfcrl2sylttmhex537clagbtslx3y");
}

#[test]
fn rotation() {
    let built: Signed<Rotation> = Signed::sign(samples::rotation(), &author());
    statement("rotation", &built, "bafyreifkmf5kyzzevqop3oyidmxhusv7acpcgl43m2usmyrlulk3m4jqwm");
}

#[test]
fn journal() {
    let id = "bafyreihrsxwwg7va77baqxzaetxw4uxftaubcallw4dvmgkn2n3ozb2wii";
    let kept = golden("journal", &samples::journal().bytes(), id);
    let read: Journal = codec::decode(&kept, Journal::MAX_BYTES).unwrap();
    assert_eq!((read.bytes(), read.id()), (kept, id.parse::<JournalId>().unwrap()));
}

#[test]
fn a_journal_that_ends_with_the_authority() {
    let id = "bafyreibjwjfijm6ih2yldgwhmnhmmg45uiy4ybfpjpmcap5merogfghxhi";
    let kept = golden("journal-withdrawn", &samples::withdrawn_journal().bytes(), id);
    let read: Journal = codec::decode(&kept, Journal::MAX_BYTES).unwrap();
    assert_eq!((read.bytes(), read.id()), (kept, id.parse::<JournalId>().unwrap()));
}

#[test]
fn profile() {
    let id = "bafyreicpn3q5okpytq3ug4blre3xmlfi7yisiy3jfdsq5smwjqqlh6j36e";
    let kept = golden("profile", &codec::encode(&samples::profile()), id);
    let read: Profile = codec::decode(&kept, 64 << 10).unwrap();
    assert_eq!((codec::encode(&read), read.id()), (kept, id.parse::<ProfileId>().unwrap()));
}

#[test]
fn delegation() {
    let built: Signed<Delegation> = Signed::sign(samples::delegation(), &author());
    statement("delegation", &built, "bafyreidc5yrtmcaluhgleizhxfmburmrzeuy3nmluk3kvszcwirpu2jb6u");
}

#[test]
fn invocation() {
    let built: Signed<Invocation> = Signed::sign(samples::invocation(), &requester());
    statement("invocation", &built, "bafyreihtw4mbzgjgmser5qjq44gj3zjzptiqnkjc2rdjjneqbgmjxmcjcy");
}

#[test]
fn revocation() {
    let path = [Proof::from(Signed::sign(samples::delegation(), &author()))];
    let built = Revocation::make(&path, None, &author()).unwrap();
    statement("revocation", &built, "bafyreifatnl2dcvkw2fpef4nxt3mvmm34hdzlncaongezxn5mkj3fgojyy");
    assert_eq!(Revocation::read(built.bytes(), &[path[0].bytes()]).unwrap().until, samples::delegation().exp);
}

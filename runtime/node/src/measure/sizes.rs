//! What messages weigh: real ones, encoded as sessions do.

use super::{
    Homes, MeasureError, Subject, Weighs,
    calls::{Delegated, Work},
};
use crate::{clock, home::Home};
use actum_discovery::{Conditions, Lifetimes, Validity, descriptor_for};
use actum_model::{
    Claim, Descriptor, Filters, Lease, Limits, Offer, Page, Query, Receipt, RunArgs, SecretKey, Signed, Tier,
    codec,
};
use actum_overlay::{
    Contact, Placed, Request, Response, TICKET_BYTES,
    frame::{HEADER_BYTES, PAYLOAD_BYTES},
};
use serde::Serialize;
use serde_bytes::{ByteArray, ByteBuf};

/// An address as leases have it, of a usual length.
const ADDRESS: &str = "/ip4/198.51.100.77/tcp/40001";

/// What a provider signs for its offer.
pub(super) struct Statements {
    pub(super) descriptor: Signed<Descriptor>,
    pub(super) lease: Signed<Lease>,
}

/// What the provider with this key would sign now.
pub(super) fn statements(
    home: &Home,
    subject: &Subject<'_>,
    key: &SecretKey,
) -> Result<Statements, MeasureError> {
    let (now, lives) = (clock::now_secs(), Lifetimes::default());
    let conditions = Conditions {
        profile: home.sandbox()?.profile_id(),
        limits: Limits::default(),
        price: 0,
        region: None,
        public: true,
        tiers: Tier::ALL.into(),
        verdicts: Vec::new(),
    };
    let validity = Validity { seq: now, nbf: now, exp: now.saturating_add(lives.descriptor) };
    let descriptor = descriptor_for(subject.release, key.did(), conditions, validity)?;
    let lease = Lease {
        iss: key.did(),
        addrs: vec![ADDRESS.to_owned()],
        load: 0,
        queued: 0,
        capacity: 4,
        lately: None,
        descriptors_seq: now,
        seq: now,
        nbf: now,
        exp: now.saturating_add(lives.lease),
    };
    Ok(Statements { descriptor: Signed::sign(descriptor, key), lease: Signed::sign(lease, key) })
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What a message weighs on a session: its encoding, and the heads of its frames.
fn framed(message: &impl Serialize) -> u64 {
    let bytes = codec::encode(message).len();
    let frames = bytes.div_ceil(PAYLOAD_BYTES).max(1);
    u64::try_from(bytes.saturating_add(frames.saturating_mul(HEADER_BYTES))).unwrap_or(u64::MAX)
}

/// What all the messages weigh, and the statements that were weighed in them.
pub(super) fn measure(
    homes: &Homes,
    subject: &Subject<'_>,
    work: &Work,
    delegated: &Delegated,
) -> Result<(Statements, Weighs), MeasureError> {
    let home = &homes.requester;
    let made = statements(home, subject, home.key()?)?;
    let (descriptor, lease) = (made.descriptor.bytes(), made.lease.bytes());
    let announce =
        Request::Announce { lease: lease.to_vec(), descriptors: vec![ByteBuf::from(descriptor.to_vec())] };
    let register = Request::Register {
        key: ByteArray::new([7; 32]),
        descriptor: descriptor.to_vec(),
        lease: lease.to_vec(),
        ticket: Some(ByteArray::new([7; TICKET_BYTES])),
    };
    let both = len(descriptor).saturating_add(len(lease));
    let query = Query {
        iss: home.did(),
        aud: home.did(),
        text: subject.release.payload().name.to_string(),
        filters: Filters::default(),
        limit: 50,
        nonce: ByteArray::new(clock::random()),
    };
    let query = Signed::sign(query, home.key()?).bytes().to_vec();
    let page = |offers: usize| -> Result<u64, MeasureError> {
        let offer = Offer { descriptor: descriptor.to_vec().into(), lease: lease.to_vec().into() };
        let page = Page {
            iss: home.did(),
            aud: home.did(),
            nonce: ByteArray::new([7; 12]),
            epoch: clock::now_secs() << 20,
            offers: vec![offer; offers],
        };
        Ok(framed(&Response::Page { page: Signed::sign(page, home.key()?).bytes().to_vec() }))
    };
    let contact = Contact { did: home.did(), addrs: vec![ADDRESS.to_owned()] };
    let ads = |closer| framed(&Response::Ads { ads: Vec::new(), closer });
    let waiting = Placed::Wait { ticket: ByteArray::new([7; TICKET_BYTES]), wait_ms: 600_000 };
    let confirmed = Placed::Confirmed { for_ms: 600_000 };
    let placed = |placed| framed(&Response::Registered { placed, closer: Vec::new() });
    let component = subject.release.payload().component;
    let chunk = framed(&Request::Chunk { component, index: 1 });
    let receipt = delegated.called.receipt.payload();
    let accuse =
        Request::Accuse { receipt: delegated.called.receipt.id(), provider: receipt.iss, bytes: 9_999 };
    let output = delegated.called.output.as_deref().unwrap_or_default();
    let without = |message: u64, what: u64| message.saturating_sub(what);
    let weighs = Weighs {
        announce: without(framed(&announce), both),
        announced: framed(&Response::Announced { accepted: 1, refused: Vec::new() }),
        find: without(framed(&Request::Find { query: query.clone() }), len(&query)),
        page: page(0)?,
        // Between pages of many offers, so that the heads of lists and of long texts are those that such pages have.
        offer: without(without(page(20)?, page(10)?) / 10, both),
        register: without(framed(&register), both),
        registered: placed(waiting),
        renew: without(framed(&Request::Renew { lease: lease.to_vec() }), len(lease)),
        renewed: placed(confirmed),
        get_ads: framed(&Request::Ads { key: ByteArray::new([7; 32]) }),
        ads: ads(Vec::new()),
        peer: without(ads(vec![contact]), ads(Vec::new())),
        prove: chunk.saturating_add(framed(&Response::Chunk { bytes: Vec::new() })),
        reconcile: framed(&Request::Reconcile { message: Vec::new() }),
        statements: framed(&Request::Statements { ids: vec![ByteArray::new([7; 32])] }),
        accuse: framed(&accuse),
        proof: framed(&Response::Proof { car: work.proof.clone() }),
        call: without(framed(&call(home, subject, receipt, &work.args)?), len(&work.args)),
        done: without(framed(&done(work, delegated)), len(output)),
        args: len(&work.args),
        output: len(output),
        component: len(subject.component),
        fuel: receipt.fuel,
    };
    Ok((made, weighs))
}

/// The call that was answered with this receipt.
fn call(home: &Home, subject: &Subject<'_>, receipt: &Receipt, args: &[u8]) -> Result<Request, MeasureError> {
    let (claim, provider) = (Claim::of(subject.release.payload()), receipt.iss);
    let invocation = RunArgs::invocation(
        &receipt.action,
        &claim,
        provider,
        provider,
        Vec::new(),
        receipt.iat,
        receipt.iat,
    );
    let invocation = Signed::sign(invocation, home.key()?).bytes().to_vec();
    Ok(Request::Call { invocation, proofs: Vec::new(), args: args.to_vec() })
}

/// The answer that it was.
fn done(work: &Work, delegated: &Delegated) -> Response {
    Response::Done {
        receipt: delegated.called.receipt.bytes().to_vec(),
        output: delegated.called.output.clone(),
        journal: work.execution.journal.bytes(),
        bodies: Vec::new(),
        stdio: work.execution.stdio_block().map(|(_, bytes)| bytes),
        attestation: None,
    }
}

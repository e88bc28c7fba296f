//! Fetching believes digests, not peers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use actum_model::{
    ComponentId, FunctionName, ReleaseId, Signed,
    id::sha256,
    release::{CHUNK_BYTES, Function, Release, chunk_digests},
};
use actum_overlay::{
    FetchError, Handler, Refusal, RefusalCode, Request, Response, fetch_component, fetch_release,
};
use common::*;
use std::sync::Arc;

/// Three chunks and a bit.
fn component() -> Vec<u8> {
    (0_u32..).flat_map(|i| sha256(&i.to_be_bytes())).take(3 * CHUNK_BYTES + 77).collect()
}

fn a_release() -> Signed<Release> {
    let bytes = component();
    let function = Function {
        name: "a:b/c#run".parse::<FunctionName>().unwrap(),
        docs: String::new(),
        params: vec![],
        result: None,
    };
    let release = Release {
        iss: key(1).did(),
        name: "tests/fetched".parse().or_else(|_| "fetched".parse()).unwrap(),
        version: semver::Version::new(1, 0, 0),
        intent: "is fetched".to_owned(),
        tags: vec![],
        component: ComponentId::of(&bytes),
        component_bytes: bytes.len() as u64,
        chunks: chunk_digests(&bytes),
        wit: vec![].into(),
        functions: vec![function],
        permissions: Default::default(),
        examples: vec![],
    };
    Signed::sign(release, &key(1))
}

/// Serves the component and its release; chunk `wrong` is off by one bit.
fn serving(wrong: Option<u32>) -> Arc<dyn Handler> {
    let (bytes, release) = (Arc::new(component()), Arc::new(a_release()));
    answer(move |_, request, _, _| {
        let (bytes, release) = (Arc::clone(&bytes), Arc::clone(&release));
        Box::pin(async move {
            match request {
                Request::Chunk { index, .. } => match bytes.chunks(CHUNK_BYTES).nth(index as usize) {
                    Some(chunk) => {
                        let mut bytes = chunk.to_vec();
                        bytes[0] ^= u8::from(wrong == Some(index));
                        Response::Chunk { bytes }
                    }
                    None => Refusal::new(RefusalCode::BadRequest, "no such chunk").into(),
                },
                Request::Release { .. } => Response::Release { release: release.bytes().to_vec() },
                _ => Refusal::new(RefusalCode::NotOffered, "nothing else").into(),
            }
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_comes_whole_with_its_release() {
    for transport in TRANSPORTS {
        let (provider, requester) = pair(transport, serving(None)).await;
        let session = requester.session_with(&provider.did()).unwrap();
        let release = fetch_release(&session, a_release().id()).await.unwrap();
        let mut seen = Vec::new();
        let bytes = fetch_component(&session, release.payload(), |done, total| seen.push((done, total)))
            .await
            .unwrap();
        assert_eq!(bytes, component());
        assert_eq!(seen, [(1, 4), (2, 4), (3, 4), (4, 4)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_chunk_ends_it_and_is_named() {
    let (provider, requester) = pair("tcp", serving(Some(2))).await;
    let session = requester.session_with(&provider.did()).unwrap();
    let release = a_release();
    match fetch_component(&session, release.payload(), |_, _| {}).await.unwrap_err() {
        FetchError::WrongChunk { peer, component, index } => {
            assert_eq!((peer, component, index), (provider.did(), release.payload().component, 2));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_release_is_refused() {
    let (provider, requester) = pair("tcp", serving(None)).await;
    let session = requester.session_with(&provider.did()).unwrap();
    let wanted = ReleaseId::of(b"another");
    assert!(matches!(
        fetch_release(&session, wanted).await,
        Err(FetchError::WrongRelease { peer, wanted: w }) if peer == provider.did() && w == wanted
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_of_another_component_is_refused() {
    let (provider, requester) = pair("tcp", serving(None)).await;
    let session = requester.session_with(&provider.did()).unwrap();
    let mut release = a_release().into_payload();
    release.component = ComponentId::of(b"another");
    assert!(matches!(
        fetch_component(&session, &release, |_, _| {}).await,
        Err(FetchError::BadManifest { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_passed_on() {
    let refusing = answer(|_, _, _, _| {
        Box::pin(async { Refusal::new(RefusalCode::UnknownComponent, "not here").into() })
    });
    let (provider, requester) = pair("tcp", refusing).await;
    let session = requester.session_with(&provider.did()).unwrap();
    match fetch_component(&session, a_release().payload(), |_, _| {}).await.unwrap_err() {
        FetchError::Refused { refusal, .. } => assert_eq!(refusal.code, RefusalCode::UnknownComponent),
        other => panic!("{other:?}"),
    }
}

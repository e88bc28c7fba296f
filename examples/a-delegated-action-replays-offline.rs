//! A program that embeds a node and a requester: one hosts a capability, the other finds it by intent, delegates an action
//! to it, and runs the receipt again after the provider has gone.

use actum_model::{Filters, Judgement};
use actum_node::{
    Config, Home,
    audit::{self, ReplayOptions},
    config::OfferConfig,
    invoke::{self, Choices},
    node::Node,
    publish::{Described, publish},
    requester::{CallRequest, Requester},
};
use std::{error::Error, fs, sync::Arc, time::Duration};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;

    // A developer publishes; the release is signed with the key of this home, made on first use.
    let provider = Arc::new(Home::open(&dir.path().join("provider"))?);
    let component = dir.path().join("text-stats.wasm");
    fs::write(&component, actum_capabilities::TEXT_STATS.component)?;
    let described = Described {
        name: Some("text-stats".to_owned()),
        intent: Some("Count the words in a text".to_owned()),
        ..Described::default()
    };
    let release = publish(&provider, &component, described)?;
    println!("published {}", release.id());

    // A peer hosts it, for anyone, on loopback.
    let offer = OfferConfig {
        release: release.id().to_string(),
        public: true,
        callers: Vec::new(),
        allow: Vec::new(),
        price: 0,
    };
    let node = Node::start(provider, Config { offers: vec![offer], ..Config::default() }, None).await?;
    let addresses = node.addresses();

    // Another peer finds it by intent and delegates.
    let home = Arc::new(Home::open(&dir.path().join("requester"))?);
    let requester = Requester::start(home.clone(), &[], &addresses).await?;
    let candidates = requester.candidates("how many words has this text", &Filters::default()).await?;
    let prepared = requester.prepare(&candidates, "count-words").await?;
    let text = serde_json::json!({"text": "to be or not to be"});
    let args = invoke::encode_args(&prepared.function, &text, &mut |_| Err("no files here".to_owned()))?;
    let request = CallRequest { args, choices: Choices::default(), deadline: Duration::from_secs(30) };
    let called = requester.call(prepared, request, &mut |_| {}).await?;
    requester.keep_component(&called).await?;
    requester.stop().await?;
    let outcome = &called.receipt.payload().outcome;
    let output = invoke::output_json(&called.function, outcome, called.output.as_deref())?;
    println!("{outcome}: {}", output.unwrap_or_default());

    // The provider goes; the receipt needs nobody.
    node.stop().await;
    let replayed = audit::replay(&home, &called.receipt.id().to_string(), ReplayOptions::default())?;
    println!("replay of {}: {}", called.receipt.id(), replayed.judgement);
    if replayed.judgement == Judgement::Identical { Ok(()) } else { Err("the receipt was not true".into()) }
}

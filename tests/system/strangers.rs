//! What strangers say is believed only as far as it can be checked, and changes nothing of one's own.

use crate::harness::Stage;
use actum_model::{Release, Signed};
use actum_node::Home;
use std::path::Path;

const PAY: &str = r#"(component
  (core module $m (func (export "pay") (param i32 i32) (result i32) local.get 1 local.get 0 i32.sub))
  (core instance $i (instantiate $m))
  (func (export "pay") (param "from" u32) (param "to" u32) (result u32) (canon lift (core func $i "pay"))))"#;

fn publish_pay(stage: &Stage, home: &str) -> String {
    stage.write("pay.wat", PAY);
    let ran =
        stage.actum(home, &["publish", "pay.wat", "--name", "pay", "--intent", "Pay", "--version", "0.1.0"]);
    ran.exits(0).stdout.trim().to_owned()
}

/// Signs, in a home of its own, a release of the same component that exchanges the parameters' names.
fn forge_pay(stage: &Stage, home: &str) -> String {
    let honest = publish_pay(stage, home);
    let home = Home::open(&stage.path().join(home)).expect("a home");
    let honest =
        home.store().release(&honest.parse().expect("an id")).expect("a store").expect("the release");
    let mut forged: Release = honest.payload().clone();
    forged.version = "9.9.9".parse().expect("a version");
    let params = &mut forged.functions[0].params;
    params.swap(0, 1);
    let forged = Signed::sign(forged, home.key().expect("an unsealed key"));
    home.store().put_release(&forged).expect("it is stored");
    forged.id().to_string()
}

#[test]
fn a_release_that_misdescribes_its_component_is_neither_run_nor_hosted() {
    let stage = Stage::new();
    let forged = forge_pay(&stage, "forger");
    stage.actum("forger", &["node", "--offer", &forged]).exits(7).says("has no function pay");
    stage.actum("forger", &["run", &forged, "pay", r#"{"from": 1, "to": 10}"#]).exits(7).says("is not true");
}

#[test]
fn calling_a_stranger_does_not_take_over_a_name_of_ones_own() {
    let stage = Stage::new();
    let version = |home: &str, version: &str, answer: u32| {
        let text = format!(
            r#"(component
              (core module $m (func (export "f") (result i32) i32.const {answer}))
              (core instance $i (instantiate $m))
              (func (export "answer") (result u32) (canon lift (core func $i "f"))))"#
        );
        stage.write(&format!("{answer}.wat"), text);
        let describe = ["--name", "greet", "--intent", "Answer", "--version", version];
        stage.actum(home, &[&["publish", &format!("{answer}.wat")], &describe[..]].concat()).exits(0);
    };
    version("you", "0.1.0", 42);
    version("stranger", "9.9.9", 43);
    let stranger = stage.node("stranger", &["--offer", "greet"]);
    let called = stage.actum("you", &["call", "greet", "answer", "--peer", stranger.address("tcp")]).exits(0);
    assert_eq!(called.json(), 43);
    assert_eq!(stage.actum("you", &["run", "greet", "answer"]).exits(0).json(), 42);
    // One's own, published again in the same version, is the one published last.
    version("you", "0.1.0", 44);
    assert_eq!(stage.actum("you", &["run", "greet", "answer"]).exits(0).json(), 44);
}

#[test]
fn arguments_and_outputs_are_given_to_nobody() {
    use actum_overlay::{
        BoxFuture, Handler, Overlay, OverlayConfig, ProgressSender, Request, Response, SessionHandle,
    };
    struct Silent;
    impl Handler for Silent {
        fn handle(
            &self,
            _: actum_model::Did,
            _: Request,
            _: SessionHandle,
            _: ProgressSender,
        ) -> BoxFuture<'static, Response> {
            Box::pin(std::future::pending())
        }
    }
    let stage = Stage::new();
    stage.publish("victim", "text-stats");
    let secret = "my secret question, never shared with anyone ".repeat(1000);
    stage.write("secret.txt", &secret);
    stage.actum("victim", &["run", "text-stats", "count-words", "@secret.txt"]).exits(0);
    let victim = stage.node("victim", &[]);
    let args = actum_model::value::encode_params(
        &[actum_model::Param { name: "text".to_owned(), ty: actum_model::WitType::String }],
        &[actum_model::Value::String(secret)],
    );
    let component = actum_model::ComponentId::of(&args.expect("it encodes"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answer = runtime.block_on(async {
        let key = actum_model::SecretKey::from_seed(&[9; 32]);
        let spy = Overlay::start(OverlayConfig::client(), &key, std::sync::Arc::new(Silent))
            .await
            .expect("it starts");
        let peer = spy.connect(victim.address("tcp")).await.expect("it connects");
        spy.request(&peer, &Request::Chunk { component, index: 0 }, std::time::Duration::from_secs(60)).await
    });
    let Response::Refused { refusal } = answer.expect("an answer") else {
        panic!("the arguments were given away")
    };
    assert_eq!(refusal.code.name(), "unknown-component");
}

#[test]
fn one_component_is_offered_once() {
    let stage = Stage::new();
    stage.publish("a", "text-stats");
    let offer = "[[offer]]\nrelease = \"text-stats\"\n";
    stage.write("a.toml", format!("{offer}{offer}public = true\n"));
    stage.actum("a", &["node", "--config", "a.toml"]).exits(3).says("same component");
    // Nor does the command line widen what the configuration restricts.
    stage.write("b.toml", offer);
    stage
        .actum("a", &["node", "--config", "b.toml", "--offer", "text-stats"])
        .exits(3)
        .says("same component");
}

#[test]
fn a_home_has_one_node_and_a_port_one_listener() {
    let stage = Stage::new();
    let a = stage.node("a", &[]);
    stage.actum("a", &["node"]).exits(3).says("another node of this home");
    let taken = a.address("tcp").split("/p2p/").next().expect("an address").to_owned();
    stage.actum("b", &["node", "--listen", &taken]).exits(8).says("in use");
}

#[test]
fn a_home_may_be_named_relatively() {
    let stage = Stage::new();
    let ran = stage.actum("unused", &["--home", "relative", "doctor"]);
    ran.exits(0);
    assert!(Path::new(&stage.path().join("relative/key.pem")).exists());
    assert!(stage.path().join("relative/store/actum.db").exists());
}

#[test]
fn a_denied_component_with_many_imports_leaves_a_receipt_that_can_be_read() {
    let stage = Stage::new();
    let imports: String = (0..400)
        .map(|i| format!("(import \"wasi:sockets/number-{i}@0.2.0\" (instance (export \"f\" (func))))\n"))
        .collect();
    stage.write(
        "many.wat",
        format!(
            r#"(component {imports}
              (core module $m (func (export "f") (result i32) i32.const 1))
              (core instance $i (instantiate $m))
              (func (export "f") (result u32) (canon lift (core func $i "f"))))"#
        ),
    );
    let ran = stage.actum("you", &["run", "many.wat", "f"]).exits(4);
    stage.actum("you", &["receipt", "list"]).exits(0);
    assert_eq!(stage.actum("you", &["replay", &ran.receipt()]).exits(0).stdout.trim(), "identical");
}

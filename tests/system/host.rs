//! A peer hosts: identity, addresses, finding each other, fetching what it lacks, and going well.

use crate::harness::Stage;

#[test]
fn two_nodes_given_one_address_find_each_other() {
    let stage = Stage::new();
    stage.publish("a", "text-stats");
    stage.publish("b", "markdown");
    let mut a = stage.node("a", &["--offer", "text-stats"]);
    let b = stage.node("b", &["--offer", "markdown", "--bootstrap", a.address("tcp")]);
    assert_eq!(a.wait_for("announced")["provider"], b.did());
    // From b's home, which was given a's address; from a's home, which was given none.
    let from_b = stage.actum("b", &["--format", "json", "find", "count words"]).exits(0).json();
    assert_eq!(from_b[0]["name"], "text-stats");
    assert_eq!(from_b[0]["provider"], a.did());
    let from_a = stage.actum("a", &["--format", "json", "find", "markdown"]).exits(0).json();
    assert_eq!(from_a[0]["provider"], b.did());
    let called = stage.actum("a", &["call", "markdown", "headings", "# Hello"]).exits(0);
    assert_eq!(called.json()[0]["text"], "Hello");
}

#[test]
fn nodes_find_each_other_over_quic() {
    let stage = Stage::new();
    stage.publish("a", "text-stats");
    let a = stage.node("a", &["--offer", "text-stats", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"]);
    let called =
        stage.actum("you", &["call", "text-stats", "count-words", "one two", "--peer", a.address("udp")]);
    assert_eq!(called.exits(0).json()["words"], 2);
}

#[test]
fn it_listens_on_loopback_over_tcp_and_quic_and_keeps_its_identity() {
    let stage = Stage::new();
    let first = stage.node("a", &[]);
    assert!(first.address("tcp").starts_with("/ip4/127.0.0.1/tcp/"), "{}", first.ready);
    assert!(first.address("udp").contains("/quic-v1/p2p/"), "{}", first.ready);
    let did = first.did().to_owned();
    first.stop();
    let second = stage.node("a", &[]);
    assert_eq!(second.did(), did);
    assert_eq!(stage.actum("a", &["key", "show"]).exits(0).stdout.trim(), did);
}

#[test]
fn a_release_and_component_it_lacks_are_fetched_by_id() {
    let stage = Stage::new();
    let release = stage.publish("author", "thumbnail");
    let author = stage.node("author", &[]);
    let host = stage.node("host", &["--offer", &release, "--bootstrap", author.address("tcp")]);
    author.stop();
    let found = stage
        .actum("you", &["--format", "json", "find", "make a picture smaller", "--peer", host.address("tcp")]);
    let found = found.exits(0).json();
    assert_eq!(found[0]["release"], release.as_str());
    assert_eq!(found[0]["provider"], host.did());
    let image = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAIAAADwyuo0AAAAJUlEQVR4AQEaAOX/AP8AAP8AAAAA/wAA/wD/AAD/AAAAAP8AAP9nsgf5QH1qbAAAAABJRU5ErkJggg==";
    let called =
        stage.actum("you", &["call", &release, "measure", image, "--peer", host.address("tcp")]).exits(0);
    assert_eq!(called.json(), serde_json::json!({"ok": {"width": 4, "height": 2}}));
}

#[test]
fn a_component_that_went_missing_is_fetched_from_the_caller_who_has_it() {
    let stage = Stage::new();
    let release = stage.publish("author", "json-query");
    let author = stage.node("author", &[]);
    stage.node("host", &["--offer", &release, "--bootstrap", author.address("tcp")]).stop();
    author.stop();
    // The host keeps the release and loses the component: more than a megabyte, so several chunks.
    let component =
        stage.actum("author", &["--format", "json", "publish", "capabilities/json-query/json-query.wasm"]);
    let component = component.exits(0).json()["component"].as_str().expect("an id").to_owned();
    let components = stage.path().join("host/store/components").join(&component[component.len() - 2..]);
    std::fs::remove_file(components.join(&component)).expect("the component is a file of its own");
    let host = stage.node("host", &["--offer", &release]);
    let call = |home: &str| {
        let args = r#"{"document": "{\"a\": 7}", "filter": ".a"}"#;
        stage.actum(home, &["call", &release, "query", args, "--peer", host.address("tcp")])
    };
    call("stranger").exits(8).says("unknown-component");
    assert_eq!(call("author").exits(0).json(), serde_json::json!({"ok": ["7"]}));
    assert_eq!(call("stranger").exits(0).json(), serde_json::json!({"ok": ["7"]}));
}

#[test]
fn an_offer_nobody_has_is_refused_with_what_was_tried() {
    let stage = Stage::new();
    let release = stage.publish("elsewhere", "digest");
    let empty = stage.node("empty", &[]);
    let ran = stage.actum("host", &["node", "--offer", &release, "--bootstrap", empty.address("tcp")]);
    ran.exits(5).says("unknown-release");
    stage.actum("host", &["node", "--offer", "no-such-thing"]).exits(5).says("no-such-thing");
}

#[test]
fn running_actions_end_before_the_node_does() {
    let stage = Stage::new();
    stage.publish_guest("a", "endless", "[]");
    // However long a busy machine takes over the action, nothing but its fuel ends it.
    stage.write("a/config.toml", "wall_clock_seconds = 600\ndrain_seconds = 600\n");
    let mut a = stage.node("a", &["--offer", "endless"]);
    let address = a.address("tcp").to_owned();
    std::thread::scope(|scope| {
        // Some seconds of work, so that the interrupt comes while it runs.
        let call = scope.spawn(|| {
            let spin = ["call", "endless", "spin", "--fuel", "6000000000", "--deadline", "600"];
            stage.actum("you", &[&spin[..], &["--peer", &address]].concat())
        });
        a.wait_for("started");
        a.interrupt();
        call.join().expect("the caller ends").exits(6).says("out-of-fuel");
    });
    assert!(a.wait(), "the node ended well");
    let kept = stage.actum("a", &["--format", "json", "receipt", "list"]).exits(0).json();
    assert_eq!(kept[0]["outcome"], "out-of-fuel", "the provider kept its receipt: {kept}");
}

#[test]
fn a_node_can_be_stopped_while_it_starts() {
    let stage = Stage::new();
    // Somebody who takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().expect("an address").port());
    let mut command = stage.command("a");
    command.args(["node", "--bootstrap", &address]);
    let mut child = command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let connection = silent.accept().expect("it dials while it starts");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
    assert!(child.wait().expect("it ends").success());
    drop(connection);
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_place() {
    let stage = Stage::new();
    stage.write("config.toml", "listen = [\"/ip4/127.0.0.1/tcp/0\"]\ncolour = 1\n");
    stage.actum("a", &["node", "--config", "config.toml"]).exits(3).says("colour").says("config.toml");
    stage.actum("a", &["node", "--config", "missing.toml"]).exits(3).says("missing.toml");
    stage.actum("a", &["node", "--listen", "nonsense"]).exits(3).says("multiaddr");
}

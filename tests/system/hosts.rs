//! Hosts apart: each in a network namespace and an address range of its own, joined by a network that delays every packet,
//! loses some, and can be cut in two. Needs root and Debian's iproute2, and is skipped where either is missing.

use crate::harness::{Node, Ran, Stage};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    process::Command,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The hosts of one test, and the network between them.
struct Hosts {
    names: Vec<String>,
    network: Arc<Network>,
}

/// What becomes of packets.
struct Network {
    devices: Vec<SyncDevice>,
    weather: Mutex<Weather>,
    under_way: Mutex<BinaryHeap<Reverse<UnderWay>>>,
    more: Condvar,
    lost: AtomicU64,
    carried: AtomicU64,
}

/// A packet: when it is due, its number, the host it goes to, its bytes.
type UnderWay = (Instant, u64, usize, Vec<u8>);

#[derive(Clone, Copy)]
struct Weather {
    /// From one host to another.
    delay: Duration,
    /// Packets lost, in thousandths.
    loss: u64,
    /// Hosts below this number and the others do not hear one another.
    cut_at: Option<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ip(args: &str) -> bool {
    let ran = Command::new("ip").args(args.split(' ')).output();
    ran.is_ok_and(|ran| ran.status.success())
}

/// The address of a host: each has a /24 of its own.
fn address(host: usize) -> String {
    format!("10.77.{host}.1")
}

impl Hosts {
    /// So many hosts, or nothing where this machine does not allow for them.
    fn new(test: &str, count: usize, weather: Weather) -> Option<Self> {
        let prefix = format!("{}{}", test, std::process::id());
        let names: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
        let mut hosts = Self { names: Vec::new(), network: Arc::new(Network::new(Vec::new(), weather)) };
        let mut devices = Vec::new();
        for (n, name) in names.into_iter().enumerate() {
            if !ip(&format!("netns add {name}")) {
                eprintln!(
                    "skipped: this machine does not allow for hosts of a test's own (root and iproute2)"
                );
                return None;
            }
            hosts.names.push(name.clone());
            let device = DeviceBuilder::new().name(format!("{test}{n}x{}", std::process::id() % 100_000));
            let Ok(device) = device.build_sync() else {
                eprintln!("skipped: this machine has no network devices for a test");
                return None;
            };
            let link = device.name().expect("a name");
            for step in [
                format!("link set {link} netns {name}"),
                format!("-n {name} addr add {}/24 dev {link}", address(n)),
                format!("-n {name} link set lo up"),
                format!("-n {name} link set {link} mtu 1400 up"),
                format!("-n {name} route add 10.77.0.0/16 dev {link}"),
            ] {
                assert!(ip(&step), "ip {step}");
            }
            devices.push(device);
        }
        hosts.network = Arc::new(Network::new(devices, weather));
        for host in 0..count {
            let network = hosts.network.clone();
            thread::spawn(move || network.take_from(host));
        }
        let network = hosts.network.clone();
        thread::spawn(move || network.carry());
        Some(hosts)
    }

    /// A stage whose homes of these names are on these hosts, in order.
    fn stage(&self, homes: &[&str]) -> Stage {
        let mut stage = Stage::new();
        for (home, host) in homes.iter().zip(&self.names) {
            stage.place(home, host);
        }
        stage
    }

    fn cut(&self, at: Option<usize>) {
        lock(&self.network.weather).cut_at = at;
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

impl Network {
    fn new(devices: Vec<SyncDevice>, weather: Weather) -> Self {
        Self {
            devices,
            weather: Mutex::new(weather),
            under_way: Mutex::default(),
            more: Condvar::new(),
            lost: AtomicU64::new(0),
            carried: AtomicU64::new(0),
        }
    }

    /// Takes what a host sends, until its device is gone.
    fn take_from(&self, host: usize) {
        let mut buffer = vec![0; 2_000];
        // Whichever packets it hits: the same in each run, as far as the hosts send the same.
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(host as u64 + 1);
        let mut number = (host as u64) << 48;
        while let Ok(length) = self.devices[host].recv(&mut buffer) {
            let packet = &buffer[..length];
            // IPv4 to 10.77.n.1.
            if length < 20 || packet[0] >> 4 != 4 || packet[16..18] != [10, 77] {
                continue;
            }
            let to = usize::from(packet[18]);
            let weather = *lock(&self.weather);
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let apart = weather.cut_at.is_some_and(|at| (host < at) != (to < at));
            if to >= self.devices.len() || apart || random % 1_000 < weather.loss {
                self.lost.fetch_add(1, Relaxed);
                continue;
            }
            self.carried.fetch_add(1, Relaxed);
            number += 1;
            let due = Instant::now() + weather.delay;
            lock(&self.under_way).push(Reverse((due, number, to, packet.to_vec())));
            self.more.notify_one();
        }
    }

    /// Hands over what is due.
    fn carry(&self) {
        let mut under_way = lock(&self.under_way);
        loop {
            let now = Instant::now();
            let wait = match under_way.peek() {
                Some(Reverse((due, ..))) if *due <= now => {
                    let Some(Reverse((_, _, to, packet))) = under_way.pop() else { continue };
                    // A host that is gone takes nothing.
                    let _ = self.devices[to].send(&packet);
                    continue;
                }
                Some(Reverse((due, ..))) => *due - now,
                None => Duration::from_secs(1),
            };
            let waited = self.more.wait_timeout(under_way, wait);
            under_way = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn find(stage: &Stage, home: &str, args: &[&str]) -> Ran {
    stage.actum(home, &[&["--format", "json", "find"], args].concat())
}

fn found(ran: &Ran) -> Vec<String> {
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    let found = found.as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> = found.iter().map(|f| f["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Waits for this; says how long it took.
fn until(what: &str, most: Duration, mut so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < most, "not {what} in {most:?}");
        thread::sleep(Duration::from_millis(500));
    }
    began.elapsed()
}

/// A node that listens on its host's own address.
fn node(stage: &Stage, home: &str, host: usize, args: &[&str]) -> Node {
    let listen =
        [format!("/ip4/{}/tcp/4001", address(host)), format!("/ip4/{}/udp/4001/quic-v1", address(host))];
    let mut all = vec!["--listen", &listen[0], "--listen", &listen[1]];
    all.extend(args);
    stage.node(home, &all)
}

/// Publish, host, find, call, receipt and replay, at a round trip of 200 ms and with one packet in fifty lost.
#[test]
fn the_walk_completes_at_200_ms_and_with_2_percent_lost() {
    let weather = Weather { delay: Duration::from_millis(100), loss: 20, cut_at: None };
    let Some(hosts) = Hosts::new("wa", 3, weather) else { return };
    let stage = hosts.stage(&["registry", "provider", "you"]);
    stage.publish("provider", "text-stats");
    stage.write("registry/config.toml", "registry = true\n");
    let registry = node(&stage, "registry", 0, &[]);
    for transport in ["tcp", "udp"] {
        let meeting = registry.address(transport);
        let provider = node(&stage, "provider", 1, &["--offer", "text-stats", "--bootstrap", meeting]);
        let by = |what: &[&str]| found(&find(&stage, "you", &[what, &["--peer", meeting]].concat()));
        until("found", Duration::from_secs(300), || {
            by(&["count", "words"]) == ["text-stats"] && by(&["text-stats"]) == ["text-stats"]
        });
        let args = ["call", "text-stats", "count-words", "[\"far away\"]", "--peer", meeting, "--replay"];
        let mut called = stage.actum("you", &args);
        // A dial that loses several packets on a busy machine takes longer than anybody waits, and is made anew.
        until("called", Duration::from_secs(300), || {
            // What says that nobody could be reached, and nothing else.
            if called.code == 8 {
                called = stage.actum("you", &args);
            }
            called.code != 8
        });
        let receipt = called.exits(0).says("replay: identical").receipt();
        stage.actum("you", &["replay", &receipt, "--engine", "pulley"]).exits(0);
        provider.stop();
    }
    let (lost, carried) = (hosts.network.lost.load(Relaxed), hosts.network.carried.load(Relaxed));
    println!("{carried} packets carried, {lost} lost");
    assert!(lost > 0 && carried > 100);
}

/// While the network is in two, each side finds and calls what it has; once it is one again, both find all of it, what
/// came meanwhile included, within the life of a lease.
#[test]
fn after_a_partition_heals_both_sides_see_each_other() {
    let weather = Weather { delay: Duration::from_millis(10), loss: 0, cut_at: None };
    let Some(hosts) = Hosts::new("pa", 4, weather) else { return };
    let mut stage = hosts.stage(&["left", "left-provider", "right", "right-provider"]);
    stage.place("left-user", &hosts.names[1]);
    stage.place("right-user", &hosts.names[3]);
    stage.publish("left-provider", "text-stats");
    stage.publish("right-provider", "text-diff");
    for registry in ["left", "right"] {
        stage.write(&format!("{registry}/config.toml"), "registry = true\n");
    }
    let left = node(&stage, "left", 0, &[]);
    let right = node(&stage, "right", 2, &["--bootstrap", left.address("tcp")]);
    let (at_left, at_right) = (left.address("tcp"), right.address("tcp"));
    let _one = node(&stage, "left-provider", 1, &["--offer", "text-stats", "--bootstrap", at_left]);
    let two = node(&stage, "right-provider", 3, &["--offer", "text-diff", "--bootstrap", at_right]);
    let has = |user: &str, what: &str, at: &str| {
        found(&find(&stage, user, &[what, "--peer", at])).iter().any(|name| name == what)
    };
    // Registries ask one another once a minute.
    until("one network", Duration::from_secs(300), || {
        has("left-user", "text-diff", at_left) && has("right-user", "text-stats", at_right)
    });

    hosts.cut(Some(2));
    // Longer than a connection lives without a word.
    thread::sleep(Duration::from_secs(40));
    let compare = |user: &str, at: &str| {
        let old_and_new = "[\"a red fox\", \"a red box\", \"words\"]";
        stage.actum(user, &["call", "text-diff", "compare", old_and_new, "--peer", at, "--deadline", "60"])
    };
    compare("right-user", at_right).exits(0);
    assert_ne!(compare("left-user", at_left).code, 0, "nobody hears the other side");
    // Something new on one side, of which the other cannot know.
    two.stop();
    stage.publish("right-provider", "markdown");
    let offers = ["--offer", "text-diff", "--offer", "markdown", "--bootstrap", at_right];
    let _two = node(&stage, "right-provider", 3, &offers);
    assert!(!has("left-user", "markdown", at_left));

    hosts.cut(None);
    let took = until("whole again", Duration::from_secs(600), || {
        has("left-user", "markdown", at_left)
            && has("left-user", "text-diff", at_left)
            && has("right-user", "text-stats", at_right)
            // Found may still be what was known before; the withdrawal that came with the restart arrives apart.
            && compare("left-user", at_left).code == 0
    });
    println!("{} s after the partition healed", took.as_secs());
}

//! The peers of a run, each a process of its own with a home of its own.

use crate::{
    kinds::{Hostile, Kind},
    work::Work,
};
use actum_model::{Did, Granted};
use actum_node::{
    Config, Home,
    config::OfferConfig,
    node::Node,
    provider::Executor,
    quota::{Quota, QuotaConfig},
};
use std::{
    error::Error,
    io,
    io::{BufRead, BufReader, Write},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

/// Actions a hostile provider runs at once: it never says that it is busy.
const HOSTILE_PARALLEL: u32 = 64;
/// Actions that may wait at a provider.
const QUEUE: u32 = 4_096;

/// What a process that is a peer is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Role {
    /// Be a peer of this home until the standard input ends
    #[arg(long, hide = true, value_name = "HOME")]
    pub(crate) serve: Option<PathBuf>,
    /// With --serve: what kind of provider
    #[arg(long, hide = true, default_value = "nobody")]
    kind: Kind,
    /// With --serve: whom to announce to
    #[arg(long, hide = true, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// With --serve: what to offer
    #[arg(long, hide = true, value_name = "RELEASE")]
    offer: Option<String>,
    /// With --serve: what an action of it may be granted
    #[arg(long, hide = true, value_name = "GRANT")]
    allow: Vec<String>,
    /// With --serve: when the one that turns does
    #[arg(long, hide = true, default_value_t = 0)]
    turns_after: u64,
}

/// Is a peer: says its address, answers until the standard input ends, then says how many actions it took and lies it told.
pub(crate) async fn serve(role: Role, home: &Path) -> Result<(), Box<dyn Error>> {
    let home = Arc::new(Home::open(home)?);
    let allow = role.allow.iter().map(|text| text.parse::<Granted>()).collect::<Result<Vec<_>, _>>()?;
    let offer =
        |release| OfferConfig { release, public: true, callers: Vec::new(), allow: allow.clone(), price: 0 };
    let hostile = (role.kind != Kind::Nobody).then(|| Arc::new(Hostile::new(role.kind, role.turns_after)));
    // One requester does the asking of thousands here.
    let (in_flight, most) = (Some(QUEUE), Some(u64::MAX));
    let quota = |in_flight| Quota { in_flight, fuel_per_minute: most, bytes_per_minute: most };
    let config = Config {
        bootstrap: role.bootstrap,
        offers: role.offer.into_iter().map(offer).collect(),
        parallel: hostile.as_ref().and(NonZeroU32::new(HOSTILE_PARALLEL)),
        queue: QUEUE,
        quota: QuotaConfig { per_requester: quota(in_flight), total: quota(None) },
        ..Config::default()
    };
    let executor = hostile.clone().map(|hostile| hostile as Arc<dyn Executor>);
    let node = Node::start(home, config, executor).await?;
    say(&node.addresses().into_iter().next().unwrap_or_default())?;
    tokio::task::spawn_blocking(|| io::stdin().lines().for_each(drop)).await?;
    let (served, lies) = hostile.map_or((0, 0), |hostile| hostile.counts());
    say(&format!("{served} {lies}"))?;
    node.stop().await;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Homes are made alike: with the release, the component, and what it was compiled to, so that no time is spent on that
/// again and again.
pub(crate) fn make_home(author: &Home, work: &Work, root: &Path) -> Result<Home, Box<dyn Error>> {
    let home = Home::open(root)?;
    home.store().put_component(work.component)?;
    home.store().put_release(&work.release)?;
    home.compiled_as(author)?;
    Ok(home)
}

/// A peer that runs. Killed when dropped.
pub(crate) struct Peer {
    pub(crate) did: Did,
    pub(crate) kind: Kind,
    pub(crate) address: String,
    /// Its home, which its process shares: what it has heard stands there.
    pub(crate) home: Home,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a peer of this home, which is not ready before [`Self::ready`]. With no bootstrap peers it is the one that the
    /// others announce to, and offers nothing.
    pub(crate) fn start(
        home: Home,
        kind: Kind,
        work: &Work,
        bootstrap: &[String],
        turns_after: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve").arg(home.root()).args(["--kind", &kind.name()]);
        command.args(["--turns-after", &turns_after.to_string()]);
        for address in bootstrap {
            command.args(["--bootstrap", address]);
        }
        if !bootstrap.is_empty() {
            command.args(["--offer", &work.release.id().to_string()]);
            command.args(work.allow.into_iter().flat_map(|grant| ["--allow", grant]));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().ok_or("a peer has no standard output")?);
        Ok(Self { did: home.did(), kind, address: String::new(), home, child, stdin, lines })
    }

    /// Waits until it says its address.
    pub(crate) fn ready(&mut self) -> Result<(), Box<dyn Error>> {
        self.address = self.line()?;
        match self.address.is_empty() {
            true => Err(format!("a peer ({}) did not start", self.kind.name()).into()),
            false => Ok(()),
        }
    }

    /// Ends it; says how many actions it took and lies it told, where it is hostile.
    pub(crate) fn stop(mut self) -> Result<(u64, u64), Box<dyn Error>> {
        drop(self.stdin.take());
        let line = self.line()?;
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next().and_then(Result::ok).ok_or("a peer did not say what it did");
        let counts = (next()?, next()?);
        self.child.wait()?;
        Ok(counts)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

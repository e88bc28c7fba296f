//! Auditing many receipts at once, on all cores: what is wrong with one never keeps the others from being looked at.
//!
//! Each receipt is read with its evidence, every block of it checked against its id; its authority and its consistency are
//! judged; it is run again. A component is read and compiled once however many receipts name it. Verdicts are signed where
//! the work is done and kept in batches by the one thread that counts.

use super::{
    AuditError, Kind, ReplayOptions, Report, Row,
    case::{Case, Component, Components, Looked, chain},
    counter::{Answer, Counter},
    files,
    svr::svr,
};
use crate::{
    clock,
    home::{Home, HomeError},
};
use actum_model::{Did, Judgement, Receipt, ReceiptId, SecretKey, Signed, Verdict};
use actum_sandbox::{CancelToken, Pool, Sandbox, SandboxConfig};
use actum_store::{MAX_OWED, StoreError};
use std::{
    collections::BTreeSet,
    fs, io,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

/// The most receipts that one audit takes: 500,000, whose ids take some 100 MB.
pub const MAX_RECEIPTS: usize = 500_000;
/// The most threads: 128. Each may have an action of its own in the sandbox, whose address space is reserved.
pub const MAX_THREADS: usize = 128;
/// What is found waits to be counted in a queue of so many: who looks is then never ahead by more than that.
const QUEUED: usize = 256;
/// The stack of each thread, in bytes: the sandbox wants 1 MiB of it.
const STACK_BYTES: usize = 4 << 20;

/// Which receipts to audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those in these files: bundles, flows, fraud proofs, or directories of such.
    Files(Vec<PathBuf>),
    /// Those of one provider in the home, issued since then where that is said.
    Provider {
        /// The provider.
        did: Did,
        /// In seconds since the Unix epoch, by the provider's clock.
        since: Option<u64>,
    },
    /// All in the home that were issued since then, in seconds since the Unix epoch by their providers' clocks.
    Since(u64),
    /// Those whose replay the home owes.
    Due,
}

/// How to audit.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// On what each receipt is run again.
    pub replay: ReplayOptions,
    /// On how many threads, at most [`MAX_THREADS`]. Default: as many as there are cores.
    pub threads: Option<NonZeroUsize>,
    /// Only receipts of the home on which it has no verdict of its own.
    pub new: bool,
    /// A directory into which each verdict is written as a Simple Verification Result, `<receipt id>.svr.json`.
    pub svr: Option<PathBuf>,
    /// Once it is cancelled no further receipt is begun; what is done is kept and reported.
    pub cancel: CancelToken,
}

/// How far an audit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Receipts that were looked at.
    pub done: u64,
    /// Receipts in all, as far as is known: a file may hold several.
    pub total: u64,
    /// Those of them with which something is wrong.
    pub wrong: u64,
}

/// Audits receipts, and keeps the verdicts on those of the home. Goes on whatever is found.
///
/// Signs, so the home's key must be unlocked. Verdicts on receipts in files are not kept: a stranger's file does not fill
/// a home.
///
/// # Errors
/// What keeps the audit from beginning. Whatever happens to a receipt is a row in the report.
pub fn audit_many(
    home: &Home,
    what: &Selection,
    options: &AuditOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, AuditError> {
    let key = home.key()?;
    let (jobs, more) = jobs(home, what, options)?;
    let threads = options.threads(jobs.len());
    let chosen;
    let sandbox = if options.replay == ReplayOptions::default() && threads <= usual_places() {
        home.sandbox()?
    } else {
        chosen = home.sandbox_from(options.config(threads))?;
        &chosen
    };
    let owed = home.store().owed_replays(MAX_OWED)?.into_iter().collect();
    let auditor = Auditor { home: Some((home, key)), sandbox, options, components: Components::default() };
    let report = auditor.run(jobs, threads, owed, progress)?;
    Ok(Report { more, ..report })
}

/// Audits the receipts in files, directories of files among them. Uses no home, no key and no network, and keeps nothing.
///
/// # Errors
/// As [`audit_many`].
pub fn audit_files(
    paths: &[PathBuf],
    options: &AuditOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, AuditError> {
    let (jobs, more) = file_jobs(paths)?;
    let threads = options.threads(jobs.len());
    let sandbox = Sandbox::new(options.config(threads)).map_err(HomeError::from)?;
    let auditor = Auditor { home: None, sandbox: &sandbox, options, components: Components::default() };
    let report = auditor.run(jobs, threads, BTreeSet::new(), progress)?;
    Ok(Report { more, ..report })
}

/// How many actions run at once in a sandbox that nobody configured.
fn usual_places() -> usize {
    usize::try_from(Pool::default().actions.get()).unwrap_or(1)
}

impl AuditOptions {
    /// As many threads as are wanted and of use.
    fn threads(&self, jobs: usize) -> usize {
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.threads.unwrap_or_else(cores).get().min(MAX_THREADS).min(jobs.max(1))
    }

    /// A sandbox in which each thread has a place.
    fn config(&self, threads: usize) -> SandboxConfig {
        let pool = Pool::default();
        let places = u32::try_from(threads).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let actions = pool.actions.max(places);
        SandboxConfig { pool: Pool { actions, ..pool }, ..self.replay.config() }
    }
}

/// One thing to look at.
enum Job {
    /// A receipt of the home.
    Stored {
        id: String,
        provider: Option<Did>,
        /// Whether there may be a verdict on it.
        judged: bool,
    },
    /// A file.
    File(PathBuf),
}

/// What there is to do, and whether there is more than one audit takes.
fn jobs(home: &Home, what: &Selection, options: &AuditOptions) -> Result<(Vec<Job>, bool), AuditError> {
    let store = home.store();
    let listed = match what {
        Selection::Files(paths) => return file_jobs(paths),
        Selection::Due => {
            let owed = store.owed_replays(MAX_OWED)?.into_iter();
            let job = |id: ReceiptId| Job::Stored { id: id.to_string(), provider: None, judged: true };
            return Ok((owed.map(job).collect(), false));
        }
        Selection::Provider { did, since } => store.listed_receipts(*since, MAX_RECEIPTS + 1, Some(did))?,
        Selection::Since(since) => store.listed_receipts(Some(*since), MAX_RECEIPTS + 1, None)?,
    };
    let more = listed.len() > MAX_RECEIPTS;
    let mut jobs = Vec::with_capacity(listed.len().min(MAX_RECEIPTS));
    for one in listed.into_iter().take(MAX_RECEIPTS) {
        if options.new && one.judged && judged_here(home, &one.id) {
            continue;
        }
        jobs.push(Job::Stored { provider: one.provider.parse().ok(), id: one.id, judged: one.judged });
    }
    Ok((jobs, more))
}

fn file_jobs(paths: &[PathBuf]) -> Result<(Vec<Job>, bool), AuditError> {
    let mut found = files::list(paths, MAX_RECEIPTS + 1)?;
    let more = found.len() > MAX_RECEIPTS;
    found.truncate(MAX_RECEIPTS);
    Ok((found.into_iter().map(Job::File).collect(), more))
}

/// Whether this home has a verdict of its own on a receipt. One that cannot be read is none.
fn judged_here(home: &Home, id: &str) -> bool {
    let Ok(id) = id.parse() else { return false };
    let verdicts = home.store().verdicts_of(&id).unwrap_or_default();
    verdicts.iter().any(|verdict| verdict.payload().iss == home.did())
}

struct Auditor<'a> {
    home: Option<(&'a Home, &'a SecretKey)>,
    sandbox: &'a Sandbox,
    options: &'a AuditOptions,
    components: Components,
}

impl Auditor<'_> {
    fn run(
        &self,
        jobs: Vec<Job>,
        threads: usize,
        owed: BTreeSet<ReceiptId>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, AuditError> {
        if let Some(dir) = &self.options.svr {
            fs::create_dir_all(dir).map_err(|source| AuditError::Io { path: dir.clone(), source })?;
        }
        let began = Instant::now();
        let report = Report { at: clock::now_secs(), threads, ..Report::default() };
        let total = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
        let mut counter = Counter::new(self.home.map(|(home, _)| home), owed, report);
        let queue = Mutex::new(jobs.into_iter());
        let (send, answers) = mpsc::sync_channel(QUEUED);
        thread::scope(|scope| {
            let (mut running, mut failed) = (0_usize, None);
            for n in 0..threads {
                let (send, queue) = (send.clone(), &queue);
                let thread = thread::Builder::new().name(format!("audit-{n}")).stack_size(STACK_BYTES);
                match thread.spawn_scoped(scope, move || self.work(queue, &send)) {
                    Ok(_) => running += 1,
                    Err(e) => failed = Some(e),
                }
            }
            drop(send);
            // Fewer threads are slower and no worse; none at all would look at nothing.
            if let (0, Some(source)) = (running, failed) {
                return Err(AuditError::Threads { source });
            }
            let (mut done, mut known) = (0_u64, total);
            for together in answers.iter() {
                let together: Vec<Answer> = together;
                let count = u64::try_from(together.len()).unwrap_or(u64::MAX);
                done = done.saturating_add(count);
                known = known.saturating_add(count.saturating_sub(1));
                together.into_iter().for_each(|answer| counter.take(answer));
                progress(Progress { done, total: known, wrong: counter.wrong() });
            }
            Ok(())
        })?;
        let left = queue.into_inner().unwrap_or_else(PoisonError::into_inner).len();
        let mut report = counter.finish();
        report.not_reached = u64::try_from(left).unwrap_or(u64::MAX);
        report.took = began.elapsed();
        Ok(report)
    }

    /// Looks at one thing after another, until there is none or it is interrupted.
    fn work(&self, queue: &Mutex<std::vec::IntoIter<Job>>, send: &mpsc::SyncSender<Vec<Answer>>) {
        while !self.options.cancel.is_cancelled() {
            // Not in the loop's head: the lock would be held while the job is done.
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(job) = next else { break };
            let answers = match job {
                Job::Stored { id, provider, judged } => vec![self.stored(&id, provider, judged)],
                Job::File(path) => self.file(&path),
            };
            if send.send(answers).is_err() {
                break;
            }
        }
    }

    /// Looks at a receipt of the home.
    fn stored(&self, text: &str, provider: Option<Did>, judged: bool) -> Answer {
        let broken = |id: Option<ReceiptId>, kind, why: String| {
            let row = Row { receipt: id, provider, ..row(Looked::of(kind, why)) };
            Answer { row, fuel: 0, verdict: None, judged: false, lost: None }
        };
        let Some((home, _)) = self.home else {
            return broken(None, Kind::Failed, "there is no home to read it from".to_owned());
        };
        let Ok(id) = text.parse::<ReceiptId>() else {
            return broken(None, Kind::Damaged, format!("{text:?} is no receipt's id"));
        };
        let read = home.store().evidence_without_component(&id).map_err(AuditError::from);
        let case = match read.and_then(|found| found.map(|e| Case::stored(home, e)).transpose()) {
            Ok(Some(case)) => case,
            Ok(None) => return broken(Some(id), Kind::Damaged, "it is gone from this home".to_owned()),
            Err(e) => return broken(Some(id), kind_of(&e), chain(&e)),
        };
        let component =
            self.components.of(case.component(), || Component::stored(home, self.sandbox, &case.component()));
        self.answer(&case, &component, None, judged)
    }

    /// Looks at the receipts in a file.
    fn file(&self, path: &Path) -> Vec<Answer> {
        let about = |looked: Looked| {
            let row = Row { file: Some(path.to_owned()), ..row(looked) };
            Answer { row, fuel: 0, verdict: None, judged: false, lost: None }
        };
        let opened = match files::open_file(path, self.sandbox) {
            Ok(opened) => opened,
            Err(AuditError::Archive { source, .. }) => {
                let why = format!("it is not a true bundle: {}", chain(&*source));
                return vec![about(Looked::of(Kind::Damaged, why))];
            }
            Err(e) => return vec![about(Looked::of(Kind::Failed, chain(&e)))],
        };
        let mut answers: Vec<_> =
            opened.flaw.map(|why| about(Looked::of(Kind::Inconsistent, why))).into_iter().collect();
        for (case, bytes) in opened.cases {
            let id = case.component();
            let component = self.components.of(id, || match (&bytes, self.home) {
                (Some(bytes), _) => Component::load(self.sandbox, bytes),
                (None, Some((home, _))) => Component::stored(home, self.sandbox, &id),
                (None, None) => Component::Missing,
            });
            answers.push(self.answer(&case, &component, Some(path), false));
        }
        answers
    }

    fn answer(&self, case: &Case, component: &Component, file: Option<&Path>, judged: bool) -> Answer {
        let said = case.receipt.payload();
        let mut looked = case.look(self.sandbox, component);
        let judgement = looked.judgement.take();
        let row = Row {
            receipt: Some(case.receipt.id()),
            provider: Some(said.iss),
            function: Some(said.action.function.to_string()),
            file: file.map(Path::to_owned),
            ..row(looked)
        };
        let mut answer =
            Answer { row, fuel: said.fuel, verdict: None, judged: judgement.is_some(), lost: None };
        if let (Some(judgement), Some((home, key))) = (judgement, self.home)
            && (file.is_none() || self.options.svr.is_some())
        {
            let (verdict, is_new) = self.verdict(home, key, &case.receipt, judgement, judged);
            answer.lost = self.write(&verdict, key).err();
            if is_new && file.is_none() {
                answer.verdict = Some((verdict, case.component()));
            }
        }
        answer
    }

    /// The home's verdict on a receipt: a new one, unless one that says the same is kept already.
    fn verdict(
        &self,
        home: &Home,
        key: &SecretKey,
        receipt: &Signed<Receipt>,
        judgement: Judgement,
        judged: bool,
    ) -> (Signed<Verdict>, bool) {
        let profile = self.sandbox.profile_id();
        let verdict = actum_trust::verdict(receipt, judgement, home.did(), profile, clock::now_secs());
        let same = |kept: &Signed<Verdict>| {
            let kept = kept.payload();
            (kept.iss, kept.profile) == (verdict.iss, verdict.profile) && kept.judgement == verdict.judgement
        };
        let kept = match judged {
            true => home.store().verdicts_of(&verdict.receipt).unwrap_or_default(),
            false => Vec::new(),
        };
        match kept.into_iter().find(same) {
            Some(kept) => (kept, false),
            None => (Signed::sign(verdict, key), true),
        }
    }

    /// Writes a verdict where they are wanted as files.
    fn write(&self, verdict: &Signed<Verdict>, key: &SecretKey) -> Result<(), String> {
        let Some(dir) = &self.options.svr else { return Ok(()) };
        let json = svr(verdict, key).map_err(|e| chain(&e))?;
        let path = dir.join(format!("{}.svr.json", verdict.payload().receipt));
        fs::write(&path, json).map_err(|e: io::Error| format!("cannot write {}: {e}", path.display()))
    }
}

fn row(looked: Looked) -> Row {
    let Looked { kind, says, also, divergence, .. } = looked;
    Row { kind, receipt: None, provider: None, function: None, file: None, divergence, says, also }
}

/// What it says of a receipt that its evidence could not be read: that it is damaged, or that this host is.
fn kind_of(error: &AuditError) -> Kind {
    match error {
        AuditError::Store(StoreError::Corrupt { .. }) => Kind::Damaged,
        _ => Kind::Failed,
    }
}

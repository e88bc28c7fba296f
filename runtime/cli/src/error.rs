//! What went wrong, on which object, because of what, and what to do next: decided in this one place.

use crate::output::{Format, clean, json_line, talk};
use actum_model::{Outcome, key::KeyError};
use actum_node::{
    ConfigError, HomeError, RefusalCode,
    audit::AuditError,
    balances::BalancesError,
    flow::{PlanError, RecordError, StepError},
    fraud::ProofError,
    grants::GrantError,
    invoke::ArgsError,
    manifest::ManifestError,
    node::NodeError,
    provider::ExecuteError,
    publish::PublishError,
    requester::{CallError, FindError},
    resolve::{BuildError, ResolveError},
    run::RunError,
};
use actum_sim::{
    paper::PaperError,
    report::ReportError,
    runs::{KeptError, NotRun},
    scenario::ScenarioError,
    sweep::SweepError,
};
use std::{error::Error, fmt::Write, path::Path};

/// The kinds of failure that call for different remedies; each has its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bug or a failing machine.
    Internal,
    /// The command line, or a file it names, is wrong.
    Usage,
    /// A configuration or manifest is wrong.
    Config,
    /// A permission, grant or policy stood in the way.
    Denied,
    /// Nothing has that path, id or name.
    NotFound,
    /// The guest ended otherwise than by returning a value that is not an error.
    Guest,
    /// A check of a signature, digest or re-execution failed.
    Verification,
    /// A peer could not be reached or did not answer.
    Network,
    /// A quota, a budget or a queue has no room now.
    Exhausted,
}

impl Kind {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::Guest => 6,
            Self::Verification => 7,
            Self::Network => 8,
            Self::Exhausted => 9,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Denied => "denied",
            Self::NotFound => "not-found",
            Self::Guest => "guest",
            Self::Verification => "verification",
            Self::Network => "network",
            Self::Exhausted => "exhausted",
        }
    }
}

/// A failure as the command line reports it.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) kind: Kind,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// An error of the library with the whole chain of its causes.
    fn of(kind: Kind, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        let mut last = error.to_string();
        let message = last.clone();
        while let Some(cause) = next {
            let text = cause.to_string();
            if text != last {
                causes.push(text.clone());
            }
            last = text;
            next = cause.source();
        }
        Self { kind, message, causes, hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, of a part of what was done.
    pub(crate) fn of_part(mut self, part: &str) -> Self {
        self.message = format!("{part}: {}", self.message);
        self
    }

    /// What failed and because of what, on one line.
    pub(crate) fn words(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    /// Prints to stderr, in the form asked for.
    pub(crate) fn print(&self, format: Format) {
        if format == Format::Json {
            let error = serde_json::json!({"error": {
                "kind": self.kind.name(), "exit_code": self.kind.exit_code(), "message": self.message,
                "causes": self.causes, "hint": self.hint,
            }});
            return talk(json_line(&error));
        }
        let mut text = format!("error: {}", one(&self.message));
        for cause in &self.causes {
            let _ = write!(text, "\n  because: {}", one(cause));
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n  try: {}", one(hint));
        }
        talk(text);
    }
}

/// A part of an error, most of which may be a stranger's words: further lines are marked, so that none passes for ours.
fn one(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(clean).collect();
    lines.join("\n    | ")
}

impl CliError {
    /// A key's file, named on the command line, that cannot be used.
    pub(crate) fn from_file(e: HomeError, path: &Path) -> Self {
        match &e {
            HomeError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::new(Kind::NotFound, format!("there is no {}", path.display()))
            }
            HomeError::BadKey { .. } => Self::of(Kind::Usage, &e)
                .hint("`actum key export` writes such a key, as does `openssl genpkey -algorithm ed25519`"),
            _ => e.into(),
        }
    }
}

impl From<HomeError> for CliError {
    fn from(e: HomeError) -> Self {
        match &e {
            HomeError::KeyExposed { path, .. } => {
                let hint = format!("chmod 600 {}", path.display());
                Self::of(Kind::Config, &e).hint(hint)
            }
            HomeError::BadKey { source: KeyError::WrongPassphrase, .. } => Self::of(Kind::Config, &e)
                .hint("the passphrase comes from ACTUM_PASSPHRASE, ACTUM_PASSPHRASE_FILE, or the terminal"),
            HomeError::BadKey { .. } => {
                Self::of(Kind::Config, &e).hint("restore the key, or move it away to get a new identity")
            }
            HomeError::Locked { .. } => {
                Self::of(Kind::Config, &e).hint("set ACTUM_PASSPHRASE or ACTUM_PASSPHRASE_FILE")
            }
            HomeError::NamelessKey { .. } => {
                Self::of(Kind::Config, &e).hint("move it elsewhere, and bring it in with `actum key import`")
            }
            HomeError::HasKey { .. } => Self::of(Kind::Usage, &e)
                .hint("--replace puts it aside; this home is then whose key you bring in"),
            HomeError::KeyChanged { .. } | HomeError::KeyBusy { .. } => {
                Self::of(Kind::Config, &e).hint("run it again")
            }
            HomeError::NodeRunning { .. } => Self::of(Kind::Config, &e).hint("stop the node first"),
            HomeError::HandedOver { .. } => {
                Self::of(Kind::Config, &e).hint("use the successor's key, or begin anew in another --home")
            }
            HomeError::Rotation { .. } => Self::of(Kind::Config, &e),
            HomeError::Line { .. } => {
                Self::of(Kind::Config, &e).hint("restore that file from a backup; other peers need it too")
            }
            HomeError::Io { .. } | HomeError::Store(_) | HomeError::Sandbox(_) => {
                Self::of(Kind::Internal, &e)
            }
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(e: ConfigError) -> Self {
        Self::of(Kind::Config, &e)
    }
}

impl From<ManifestError> for CliError {
    fn from(e: ManifestError) -> Self {
        match &e {
            ManifestError::Read { .. } => {
                Self::of(Kind::NotFound, &e).hint("`actum new <name>` makes a capability with its manifest")
            }
            ManifestError::Parse { .. } => Self::of(Kind::Config, &e),
        }
    }
}

impl From<BuildError> for CliError {
    fn from(e: BuildError) -> Self {
        match &e {
            BuildError::Start(_) => Self::of(Kind::Config, &e)
                .hint("install Rust with rustup (https://rustup.rs), then run it again"),
            _ => Self::of(Kind::Usage, &e).hint("if the target is missing: rustup target add wasm32-wasip2"),
        }
    }
}

impl From<ResolveError> for CliError {
    fn from(e: ResolveError) -> Self {
        match e {
            ResolveError::Manifest(e) => e.into(),
            ResolveError::Build(e) => e.into(),
            ResolveError::Home(e) => e.into(),
            e => match &e {
                ResolveError::NotFound { .. } => Self::of(Kind::NotFound, &e)
                    .hint("`actum publish <path>` adds one; `actum find \"what it does\"` asks other peers"),
                ResolveError::NoComponent { .. } => {
                    Self::of(Kind::NotFound, &e).hint("call it once, or publish the component here")
                }
                ResolveError::Ambiguous { .. } => Self::of(Kind::Usage, &e).hint("use the id in parentheses"),
                ResolveError::Untrue { .. } => Self::of(Kind::Verification, &e),
                ResolveError::Function(_) => Self::of(Kind::NotFound, &e),
                ResolveError::Store(_) => Self::of(Kind::Internal, &e),
                _ => Self::of(Kind::Usage, &e),
            },
        }
    }
}

impl From<actum_model::release::FunctionLookupError> for CliError {
    fn from(e: actum_model::release::FunctionLookupError) -> Self {
        Self::of(Kind::NotFound, &e)
    }
}

impl From<actum_node::StoreError> for CliError {
    fn from(e: actum_node::StoreError) -> Self {
        Self::of(Kind::Internal, &e)
    }
}

impl From<ArgsError> for CliError {
    fn from(e: ArgsError) -> Self {
        Self::of(Kind::Usage, &e)
    }
}

impl From<PublishError> for CliError {
    fn from(e: PublishError) -> Self {
        match e {
            PublishError::Resolve(e) => e.into(),
            PublishError::Manifest(e) => e.into(),
            PublishError::Home(e) => e.into(),
            e => match &e {
                PublishError::Store(_) | PublishError::Execute { .. } => Self::of(Kind::Internal, &e),
                PublishError::PermissionNotAsked { permission, .. } => {
                    let hint = format!(
                        "add permissions = [\"{permission}\"] to actum.toml if it should ask for that"
                    );
                    Self::of(Kind::Config, &e).hint(hint)
                }
                PublishError::Undeclared { .. } => Self::of(Kind::Usage, &e)
                    .hint("--interface <namespace:package/interface>, or `interfaces` in actum.toml"),
                PublishError::NoManifest { .. } => Self::of(Kind::Usage, &e)
                    .hint("--name <name> --intent \"what it does\", or an actum.toml beside it"),
                PublishError::ExampleDiffers { .. } => Self::of(Kind::Verification, &e)
                    .hint("correct the example in actum.toml, or the capability"),
                PublishError::Load { .. } => Self::of(Kind::Usage, &e),
                _ => Self::of(Kind::Config, &e),
            },
        }
    }
}

impl From<RunError> for CliError {
    fn from(e: RunError) -> Self {
        match e {
            RunError::Home(e) => e.into(),
            e @ RunError::Execute(ExecuteError::Cancelled) => Self::of(Kind::Guest, &e)
                .hint("it has no receipt; what it had asked of the real world until then is done"),
            e @ RunError::Execute(ExecuteError::LimitTooHigh { .. } | ExecuteError::Args(_)) => {
                Self::of(Kind::Usage, &e)
            }
            e => Self::of(Kind::Internal, &e),
        }
    }
}

impl From<NodeError> for CliError {
    fn from(e: NodeError) -> Self {
        match e {
            NodeError::Home(e) => e.into(),
            NodeError::Offer(e) => e.into(),
            e => match &e {
                NodeError::BadAddress { .. } | NodeError::Limit { .. } => Self::of(Kind::Config, &e),
                NodeError::Attest(_) => Self::of(Kind::Config, &e)
                    .hint("`tpm2_readpublic -c <ak_context> -T <tcti>` shows what the TPM says; `attest` in config.toml"),
                NodeError::Duplicate { .. } => Self::of(Kind::Config, &e).hint("offer it once"),
                NodeError::AlreadyRunning => {
                    Self::of(Kind::Config, &e).hint("stop it, or use another home with --home")
                }
                NodeError::Unusable { .. } => Self::of(Kind::Verification, &e),
                NodeError::Unavailable { .. } => Self::of(Kind::NotFound, &e)
                    .hint("--bootstrap <address of a peer that has it>, or publish it here"),
                NodeError::Overlay(_) => {
                    Self::of(Kind::Network, &e).hint("is the address free and well-formed?")
                }
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

impl From<FindError> for CliError {
    fn from(e: FindError) -> Self {
        match e {
            FindError::Home(e) => e.into(),
            e => match &e {
                FindError::NobodyToAsk => Self::of(Kind::Config, &e)
                    .hint("give a peer's address with --peer, or `bootstrap` in config.toml"),
                FindError::NoAnswer { .. } | FindError::Overlay(_) => {
                    Self::of(Kind::Network, &e).hint("is the peer running, and the address right?")
                }
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

/// What to do about a denial.
fn denied(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::Expired => {
            "ask for a new grant, or set the clock right; `actum grant list` shows until when yours hold"
        }
        RefusalCode::TooEarly => {
            "wait, or set the clock right; `actum grant list` shows from when grants hold"
        }
        RefusalCode::Revoked => "ask for a new grant; `actum grant list` shows who revoked which",
        RefusalCode::BadProof => "`actum grant verify <grant>` says what is wrong with it",
        RefusalCode::AlreadyServed => "call again: that makes a new invocation",
        _ => {
            "the provider's owner must give your did:key (`actum key show`) a grant (`actum grant new`), list it as a caller, \
             or make the offer public"
        }
    }
}

impl From<CallError> for CliError {
    fn from(e: CallError) -> Self {
        match e {
            CallError::Find(e) => e.into(),
            CallError::Args(e) => e.into(),
            CallError::Function(e) => e.into(),
            CallError::Home(e) => e.into(),
            e => match &e {
                CallError::NotFound { .. } => Self::of(Kind::NotFound, &e)
                    .hint("`actum find` with other words, or another peer with --peer; `actum run` for what is here"),
                CallError::Inconsistent { .. } | CallError::Untrue { .. } => Self::of(Kind::Verification, &e),
                CallError::Lied { receipt, .. } => Self::of(Kind::Verification, &e).hint(format!(
                    "`actum receipt export {receipt} --proof -o proof.car` makes a file that proves it to anybody"
                )),
                CallError::Unverified { .. } => Self::of(Kind::Verification, &e)
                    .hint("a lower --risk takes answers that were not checked; --explain says what is checked"),
                CallError::Excluded { provider, .. } => Self::of(Kind::Verification, &e)
                    .hint(format!("`actum peers show {provider}` says what it did; --provider asks it all the same")),
                CallError::Risk(_) => Self::of(Kind::Usage, &e).hint("levels stand in config.toml, under [risk.level]"),
                CallError::Refused { refusal, .. } if e.is_denial() => Self::of(Kind::Denied, &e).hint(denied(refusal.code)),
                CallError::TooMuch { .. } => Self::of(Kind::Usage, &e).hint("ask for fewer permissions"),
                CallError::Refused { .. } if e.is_exhaustion().is_some() => {
                    let hint = match e.is_exhaustion().flatten() {
                        Some(ms) => format!("again in {} s", ms.div_ceil(1_000)),
                        None => "another provider, a grant with room, or less --fuel where that is what is used up; nothing comes back by waiting".to_owned(),
                    };
                    Self::of(Kind::Exhausted, &e).hint(hint)
                }
                CallError::Store(_) => Self::of(Kind::Internal, &e),
                CallError::Unanswered { invocation, .. } => {
                    let hint = format!("`actum call --resume {invocation}` asks for the answer again");
                    Self::of(Kind::Network, &e).hint(hint)
                }
                CallError::NothingToResume { .. } => Self::of(Kind::NotFound, &e),
                _ => Self::of(Kind::Network, &e),
            },
        }
    }
}

impl From<GrantError> for CliError {
    fn from(e: GrantError) -> Self {
        match e {
            GrantError::Home(e) => e.into(),
            GrantError::Store(e) => e.into(),
            GrantError::Function(e) => e.into(),
            e => match &e {
                GrantError::NotFound { .. } => Self::of(Kind::NotFound, &e).hint(
                    "`actum grant list` shows the grants of this home; of one you were given, name the file",
                ),
                GrantError::Ambiguous { .. } => Self::of(Kind::Usage, &e).hint("type more of the id"),
                GrantError::Incomplete { .. } => {
                    Self::of(Kind::NotFound, &e).hint("name the file it came in, which has all of it")
                }
                GrantError::Container(_) | GrantError::Empty => Self::of(Kind::Verification, &e)
                    .hint("ask for the file again: it was changed on the way, or is something else"),
                GrantError::Flaw(_) => {
                    Self::of(Kind::Verification, &e).hint("ask whoever gave it for another")
                }
                GrantError::Widening(_) => Self::of(Kind::Denied, &e).hint(
                    "say no more than the grant gives, or leave it out: what you do not say stays as it is",
                ),
                GrantError::NotToYou { .. } => Self::of(Kind::Denied, &e)
                    .hint("`actum key show` says who this home is; whoever gives grants needs that"),
                GrantError::NotYours { .. } => Self::of(Kind::Denied, &e)
                    .hint("ask one of them, or refuse whoever uses it: `deny` in config.toml"),
                GrantError::Nobody { name } => {
                    let hint = format!("give the name with its key: --to {name}=did:key:…");
                    Self::of(Kind::NotFound, &e).hint(hint)
                }
                GrantError::Name(actum_node::StoreError::NameTaken { .. }) => {
                    Self::of(Kind::Usage, &e).hint("use another name; this one goes on meaning whom it meant")
                }
                GrantError::Author { .. } => Self::of(Kind::NotFound, &e)
                    .hint("--author <did:key>, or --may did:key:…/<name>, or --may <component id>"),
                GrantError::NotSomebody { .. } => {
                    Self::of(Kind::Usage, &e).hint("`actum key show` prints a home's did:key")
                }
                GrantError::HasIt { .. } => Self::of(Kind::Usage, &e).hint("--to <somebody else's did:key>"),
                GrantError::Times(_) => Self::of(Kind::Usage, &e).hint("--until, --for and --from say when"),
                GrantError::Revocation(_) => Self::of(Kind::Internal, &e),
                _ => Self::of(Kind::Usage, &e),
            },
        }
    }
}

impl From<PlanError> for CliError {
    fn from(e: PlanError) -> Self {
        match &e {
            PlanError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::of(Kind::NotFound, &e)
            }
            _ => Self::of(Kind::Usage, &e)
                .hint("nothing was sent; `actum flow check <plan>` looks at a plan alone"),
        }
    }
}

impl From<StepError> for CliError {
    fn from(e: StepError) -> Self {
        match e {
            StepError::Call(e) => e.into(),
            StepError::Args(e) => e.into(),
            StepError::Audit(e) => e.into(),
            StepError::Store(e) => e.into(),
            e => match &e {
                StepError::Missing(_) | StepError::Grants(_) => Self::of(Kind::Usage, &e),
                StepError::Outcome { outcome: Outcome::Denied(_) | Outcome::Withdrawn(_), .. } => {
                    Self::of(Kind::Denied, &e)
                }
                StepError::Outcome { receipt, .. } => {
                    let hint = format!("`actum receipt show {receipt}` shows it all");
                    Self::of(Kind::Guest, &e).hint(hint)
                }
                StepError::Output(_) | StepError::Unchecked { .. } => Self::of(Kind::Verification, &e),
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

impl From<RecordError> for CliError {
    fn from(e: RecordError) -> Self {
        match e {
            RecordError::Home(e) => e.into(),
            e => match &e {
                RecordError::Step { source: AuditError::MissingComponent { .. }, .. } => {
                    Self::of(Kind::NotFound, &e)
                        .hint("the same command again, with the provider reachable, fetches it")
                }
                RecordError::TooLarge { .. } => Self::of(Kind::Usage, &e)
                    .hint("`actum receipt export` writes a file of each step's receipt"),
                RecordError::Wiring(_) => Self::of(Kind::Verification, &e),
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

impl From<AuditError> for CliError {
    fn from(e: AuditError) -> Self {
        match e {
            AuditError::Home(e) => e.into(),
            e => match &e {
                AuditError::NotFound { .. } => {
                    Self::of(Kind::NotFound, &e).hint("`actum receipt list` shows the receipts of this home")
                }
                AuditError::Ambiguous { .. } => Self::of(Kind::Usage, &e),
                AuditError::MissingComponent { .. } => Self::of(Kind::NotFound, &e)
                    .hint("the provider has it: call it again with the peer reachable"),
                AuditError::Bundle { .. } | AuditError::Archive { .. } | AuditError::Evidence(_) => {
                    Self::of(Kind::Verification, &e)
                }
                AuditError::Several { .. } => {
                    Self::of(Kind::Usage, &e).hint("`actum audit <file>` verifies all of it")
                }
                AuditError::Io { .. } => Self::of(Kind::Usage, &e),
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

impl From<ProofError> for CliError {
    fn from(e: ProofError) -> Self {
        match e {
            ProofError::Audit(e) => e.into(),
            e => match &e {
                ProofError::NotShown { receipt } => Self::of(Kind::NotFound, &e)
                    .hint(format!("`actum replay {receipt}` tells whether it is true")),
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

impl From<BalancesError> for CliError {
    fn from(e: BalancesError) -> Self {
        match e {
            BalancesError::Home(e) => e.into(),
            BalancesError::Audit(e) => e.into(),
            e => match &e {
                BalancesError::Nothing { .. } => Self::of(Kind::NotFound, &e)
                    .hint("`actum peers balance` lists those with whom there are receipts"),
                BalancesError::Connect { .. } | BalancesError::Request { .. } => Self::of(Kind::Network, &e)
                    .hint("--peer <address> says where it is; --offline shows what is known here"),
                BalancesError::Refused { .. } => Self::of(Kind::Network, &e),
                BalancesError::BadAnswer { .. }
                | BalancesError::Compare(_)
                | BalancesError::File { .. }
                | BalancesError::Unproven(_) => Self::of(Kind::Verification, &e),
                BalancesError::Io { .. } => Self::of(Kind::Usage, &e),
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

impl From<ScenarioError> for CliError {
    fn from(e: ScenarioError) -> Self {
        match &e {
            ScenarioError::Unreadable { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                Self::of(Kind::NotFound, &e).hint("`actum sim list` lists those that come with this command")
            }
            ScenarioError::TooMany { .. } => {
                Self::of(Kind::Usage, &e).hint("fewer values, fewer series, or fewer --seeds")
            }
            _ => Self::of(Kind::Usage, &e).hint(
                "`actum sim show alpha` prints one to begin from; docs/simulator.md says what stands in it",
            ),
        }
    }
}

impl From<PaperError> for CliError {
    fn from(e: PaperError) -> Self {
        match e {
            PaperError::Scenario(e) => e.into(),
            e => match &e {
                PaperError::Kept(KeptError::Busy { .. })
                | PaperError::Sweep(SweepError::Kept(KeptError::Busy { .. })) => {
                    Self::of(Kind::Usage, &e).hint("wait for the other to end, or give another --out")
                }
                PaperError::Sweep(SweepError::NotRun { error: NotRun::TooLong, .. }) => {
                    Self::of(Kind::Usage, &e).hint("fewer peers, fewer workflows_per_hour, or fewer seconds")
                }
                PaperError::Sweep(
                    SweepError::UnknownFigure { .. } | SweepError::Kept(_) | SweepError::Table { .. },
                )
                | PaperError::ProfileFile { .. }
                | PaperError::File { .. }
                | PaperError::Kept(_)
                | PaperError::Report(ReportError::Write { .. }) => Self::of(Kind::Usage, &e),
                _ => Self::of(Kind::Internal, &e),
            },
        }
    }
}

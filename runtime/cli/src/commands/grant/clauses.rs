//! The options that say what a grant gives.

use super::{Output, new_file, time};
use crate::{
    commands::permit,
    error::{CliError, Kind},
};
use actum_model::{
    Did,
    grant::{ByteSize, Ceilings, Count, InputRule, May, Quota},
};
use actum_node::{
    Home,
    grants::{Asked, End, Grants},
};
use std::{collections::BTreeSet, path::PathBuf};

/// What `--allow` says where it gives nothing.
const NOTHING: &str = "none";

/// What a grant gives, and to whom.
#[derive(Debug, clap::Args)]
pub(super) struct Clauses {
    /// Who may: a did:key, a name you gave before, or name=did:key to give one
    #[arg(long, value_name = "WHO")]
    to: String,
    /// What may be run: a capability's `name` or `name@version`, a component's id, or namespace:package/interface@version; repeat
    /// for several [default: anything]
    #[arg(long, value_name = "WHAT", value_parser = super::may)]
    may: Vec<May>,
    /// The author of what --may names, by did:key, where its release is not in this home
    #[arg(long, value_name = "DID", requires = "may")]
    author: Option<Did>,
    /// Which of its functions; repeat for several [default: any]
    #[arg(long, value_name = "FUNCTION")]
    function: Vec<String>,
    /// A condition on the arguments, as `rows<=100`, `mode==fast` or `url like https://example.com/*`; repeat for several
    #[arg(long, value_name = "RULE")]
    input: Vec<InputRule>,
    /// The most fuel an action may burn, e.g. 50M
    #[arg(long, value_name = "UNITS")]
    fuel: Option<Count>,
    /// The most memory it may hold, e.g. 64MiB
    #[arg(long, value_name = "BYTES")]
    memory: Option<ByteSize>,
    /// The most output it may give, e.g. 1MiB
    #[arg(long, value_name = "BYTES")]
    output: Option<ByteSize>,
    /// A permission it may have, as `keyvalue:notes` or `http:https://example.com`; repeat for several, or `none`
    #[arg(long, value_name = "PERMISSION", value_parser = allow)]
    allow: Vec<String>,
    /// The most actions in all
    #[arg(long, value_name = "N")]
    actions: Option<Count>,
    /// The most fuel in all
    #[arg(long, value_name = "UNITS")]
    total_fuel: Option<Count>,
    /// The most actions within 60 seconds
    #[arg(long, value_name = "N")]
    actions_per_minute: Option<Count>,
    /// The most fuel within 60 seconds
    #[arg(long, value_name = "UNITS")]
    fuel_per_minute: Option<Count>,
    /// When it ends: a date, which is its last day here, a date and time, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time::end, group = "end")]
    until: Option<u64>,
    /// How long it holds, as 7d or 12h [default: 30 days]
    #[arg(long = "for", value_name = "SPAN", value_parser = time::span, group = "end")]
    span: Option<u64>,
    /// It does not end by itself
    #[arg(long, group = "end")]
    forever: bool,
    /// When it begins: a date, a date and time, or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::begin)]
    from: Option<u64>,
    #[command(flatten)]
    output_file: Output,
}

/// What can be checked of a permission without a home.
fn allow(text: &str) -> Result<String, String> {
    if text == NOTHING { Ok(text.to_owned()) } else { permit::parse(text) }
}

impl Clauses {
    /// To whom, what, and where it is written.
    pub(super) fn read(
        self,
        home: &Home,
        grants: &Grants<'_>,
    ) -> Result<(Did, Asked, Option<PathBuf>), CliError> {
        if let Some(path) = &self.output_file.file {
            new_file(path)?;
        }
        let permissions = match self.allow.as_slice() {
            [] => None,
            [only] if only == NOTHING => Some(BTreeSet::new()),
            some if some.iter().any(|text| text == NOTHING) => {
                return Err(CliError::new(Kind::Usage, "--allow none stands alone"));
            }
            some => Some(permit::granted(home, some)?),
        };
        let count = |n: Option<Count>| n.map(|n| n.0);
        let bytes = |n: Option<ByteSize>| n.map(|n| n.0);
        let asked = Asked {
            may: self.may,
            author: self.author,
            functions: self.function,
            input: self.input,
            limits: Ceilings {
                fuel: count(self.fuel),
                memory_bytes: bytes(self.memory),
                output_bytes: bytes(self.output),
                ..Ceilings::default()
            },
            permissions,
            spent: Quota { actions: count(self.actions), fuel: count(self.total_fuel) },
            minute: Quota { actions: count(self.actions_per_minute), fuel: count(self.fuel_per_minute) },
            from: self.from,
            end: match (self.until, self.span, self.forever) {
                (Some(at), ..) => End::At(at),
                (_, Some(seconds), _) => End::After(seconds),
                (_, _, true) => End::Never,
                _ => End::Usual,
            },
        };
        Ok((grants.whom(&self.to)?, asked, self.output_file.file))
    }
}

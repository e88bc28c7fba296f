//! Terms as the statements of a policy, and back.
//!
//! A statement is a clause only if it is, to the letter, what the clause is written as; so nothing is lost on the way.

use super::{Capability, Ceilings, Quota, Terms};
use crate::{
    FunctionName, Granted,
    permission::{Config, Delegate, Files, Http, Keyvalue},
    ucan::policy::{Pattern, Policy, PolicyError, Selector, Statement, Step},
};
use ipld_core::ipld::Ipld;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that terms say.
#[derive(Clone, Debug)]
pub(super) enum Clause {
    Capability(BTreeSet<Capability>),
    Functions(BTreeSet<FunctionName>),
    Input(Statement),
    Limit(&'static str, u64),
    Permissions(BTreeSet<Granted>),
    Spent(&'static str, u64),
    Minute(&'static str, u64),
    Other(Statement),
}

impl Terms {
    /// As a policy: each clause in its [form](crate::grant#forms).
    ///
    /// Refused, with the parser's reason, where the statements are more or larger than a policy may hold.
    pub fn policy(&self) -> Result<Policy, PolicyError> {
        Policy::try_from(self.clauses().iter().map(Clause::form).collect::<Vec<_>>())
    }

    /// What a policy says. Clauses stated several times are met: what all of them allow; where that has no form, the
    /// later ones are kept among [`Self::other`].
    pub fn read(policy: &Policy) -> Self {
        let mut terms = Self::default();
        for statement in &policy.statements {
            terms.add(Clause::read(statement));
        }
        terms.settled()
    }

    /// Meets what was kept, once what it is compared with has become less: with nothing, everything can be met.
    pub(super) fn settled(mut self) -> Self {
        loop {
            let before = self.capability.clone();
            for statement in std::mem::take(&mut self.other) {
                self.add(Clause::read(&statement));
            }
            if self.capability == before {
                return self;
            }
        }
    }

    /// Everything stated, in the order of the fields.
    pub(super) fn clauses(&self) -> Vec<Clause> {
        let Self { capability, functions, input, limits, permissions, spent, minute, other } = self;
        let mut clauses = Vec::new();
        clauses.extend(capability.clone().map(Clause::Capability));
        clauses.extend(functions.clone().map(Clause::Functions));
        clauses.extend(input.iter().cloned().map(Clause::Input));
        clauses.extend(stated(&limits.all()).map(|(name, most)| Clause::Limit(name, most)));
        clauses.extend(permissions.clone().map(Clause::Permissions));
        clauses.extend(stated(&spent.all()).map(|(name, most)| Clause::Spent(name, most)));
        clauses.extend(stated(&minute.all()).map(|(name, most)| Clause::Minute(name, most)));
        clauses.extend(other.iter().cloned().map(Clause::Other));
        clauses
    }

    /// States one thing more.
    pub(super) fn add(&mut self, clause: Clause) {
        match clause {
            Clause::Capability(new) => match meet_capabilities(self.capability.as_ref(), &new) {
                Some(met) => self.capability = Some(met),
                None => self.keep(&Clause::Capability(new)),
            },
            Clause::Functions(new) => {
                self.functions = Some(match &self.functions {
                    Some(old) => old & &new,
                    None => new,
                });
            }
            Clause::Permissions(new) => {
                self.permissions = Some(match &self.permissions {
                    Some(old) => meet_permissions(old, &new),
                    None => new,
                });
            }
            Clause::Limit(name, most) => lower(self.limits.named(name), most),
            Clause::Spent(name, most) => lower(self.spent.named(name), most),
            Clause::Minute(name, most) => lower(self.minute.named(name), most),
            Clause::Input(statement) => push(&mut self.input, statement),
            Clause::Other(statement) => push(&mut self.other, statement),
        }
    }

    fn keep(&mut self, clause: &Clause) {
        let parsed = Policy::try_from(vec![clause.form()]);
        self.other.extend(parsed.into_iter().flat_map(|policy| policy.statements));
    }
}

fn stated(all: &[(&'static str, Option<u64>)]) -> impl Iterator<Item = (&'static str, u64)> {
    all.iter().filter_map(|(name, most)| Some((*name, (*most)?)))
}

fn push(statements: &mut Vec<Statement>, statement: Statement) {
    if !statements.contains(&statement) {
        statements.push(statement);
    }
}

fn lower(place: Option<&mut Option<u64>>, most: u64) {
    if let Some(place) = place {
        *place = Some(place.map_or(most, |old| old.min(most)));
    }
}

/// What both sets allow; `None` where that has no form.
fn meet_capabilities(
    old: Option<&BTreeSet<Capability>>,
    new: &BTreeSet<Capability>,
) -> Option<BTreeSet<Capability>> {
    let Some(old) = old else { return Some(new.clone()) };
    let mut met = BTreeSet::new();
    for a in old {
        for b in new {
            met.extend(a.meet(b)?);
        }
    }
    Some(met)
}

/// What both sets allow: a permission is within one of each exactly if it is within where those two meet.
fn meet_permissions(old: &BTreeSet<Granted>, new: &BTreeSet<Granted>) -> BTreeSet<Granted> {
    let met: BTreeSet<Granted> = old.iter().flat_map(|a| new.iter().filter_map(|b| meet(a, b))).collect();
    // What lies within another says nothing.
    let within_another = |one: &Granted| met.iter().any(|other| other != one && one.within(other));
    met.iter().filter(|one| !within_another(one)).cloned().collect()
}

fn meet(a: &Granted, b: &Granted) -> Option<Granted> {
    match (a, b) {
        (Granted::Http(a), Granted::Http(b)) => {
            let methods = &a.methods & &b.methods;
            (a.origin == b.origin && !methods.is_empty()).then(|| {
                Granted::Http(Http {
                    origin: a.origin.clone(),
                    methods,
                    body_bytes: a.body_bytes.min(b.body_bytes),
                    timeout_ms: a.timeout_ms.min(b.timeout_ms),
                })
            })
        }
        (Granted::Keyvalue(a), Granted::Keyvalue(b)) => {
            let keys = match (&a.keys, &b.keys) {
                (Some(a), Some(b)) if a.starts_with(b.as_str()) => Some(a),
                (Some(a), Some(b)) if b.starts_with(a.as_str()) => Some(b),
                (Some(_), Some(_)) => return None,
                (a, b) => a.as_ref().or(b.as_ref()),
            };
            (a.bucket == b.bucket).then(|| {
                Granted::Keyvalue(Keyvalue {
                    bucket: a.bucket.clone(),
                    write: a.write && b.write,
                    keys: keys.cloned(),
                })
            })
        }
        (Granted::Delegate(a), Granted::Delegate(b)) => {
            ((&a.target, a.component) == (&b.target, b.component)).then(|| {
                Granted::Delegate(Delegate {
                    target: a.target.clone(),
                    component: a.component,
                    depth: a.depth.min(b.depth),
                    fuel: a.fuel.min(b.fuel),
                })
            })
        }
        (a, b) => (a == b).then(|| a.clone()),
    }
}

impl Clause {
    /// As a statement.
    fn form(&self) -> Ipld {
        match self {
            Self::Capability(any) if any.is_empty() => is(".name", ""),
            Self::Capability(any) => one_of(any.iter().map(capability).collect()),
            Self::Functions(any) if any.is_empty() => is(".function", ""),
            Self::Functions(any) => one_of(any.iter().map(|f| is(".function", f.to_string())).collect()),
            Self::Limit(name, most) => at_most(&format!(".limits.{name}"), *most),
            Self::Spent(name, most) => at_most(&format!(".spent.{name}"), *most),
            Self::Minute(name, most) => at_most(&format!(".minute.{name}"), *most),
            Self::Permissions(most) if most.is_empty() => is(".permissions", Ipld::List(vec![])),
            Self::Permissions(most) => all(".permissions", one_of(most.iter().map(permission).collect())),
            Self::Input(statement) | Self::Other(statement) => ipld_of(statement),
        }
    }

    fn read(statement: &Statement) -> Self {
        let form = ipld_of(statement);
        match known(&form).filter(|clause| clause.form() == form) {
            Some(clause) => clause,
            None if is_input(statement) => Self::Input(statement.clone()),
            None => Self::Other(statement.clone()),
        }
    }

    /// Its name, as errors say it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Capability(_) => "capability".to_owned(),
            Self::Functions(_) => "functions".to_owned(),
            Self::Input(statement) => {
                let selector = selectors(statement).into_iter().next().map_or(".input", Selector::as_str);
                super::words::clean(selector.trim_start_matches('.'))
            }
            Self::Limit(name, _) => format!("limits.{name}"),
            Self::Permissions(_) => "permissions".to_owned(),
            Self::Spent(name, _) => format!("spent.{name}"),
            Self::Minute(name, _) => format!("minute.{name}"),
            Self::Other(statement) => super::words::verbatim(statement),
        }
    }
}

/// Which clause a statement is, in a word or two for an error: `limits.fuel`, `permissions`, `input.rows`; a statement
/// without a form of its own stands there whole.
pub fn clause(statement: &Statement) -> String {
    Clause::read(statement).name()
}

/// Whether a statement that does not hold means that a delegation is used up, for good or for now, and not that the
/// action is denied: it looks at `.spent` or `.minute`, which the provider counts.
pub fn is_exhaustion(statement: &Statement) -> bool {
    statement.mentions("spent") || statement.mentions("minute")
}

/// Whether a statement looks at the function's arguments, and at nothing else.
pub(super) fn is_input(statement: &Statement) -> bool {
    let on_input =
        |s: &&Selector| matches!(s.segments().first(), Some(s) if s.step == Step::Field("input".to_owned()));
    let selectors = selectors(statement);
    !selectors.is_empty() && selectors.iter().all(on_input)
}

/// Whether a policy looks at the function's arguments, or may do so.
pub fn sees_input(policy: &Policy) -> bool {
    policy.statements.iter().any(|s| s.mentions("input"))
}

/// What a clause could be that a statement is, field by field: it is that clause if it is also written so.
fn known(form: &Ipld) -> Option<Clause> {
    let (operator, left, right) =
        triple(form).or_else(|| pair(form).map(|(operator, right)| (operator, "", right)))?;
    match (operator, left) {
        ("<=", path) => {
            let most = u64::try_from(int(right)?).ok()?;
            let (kind, name) = path.strip_prefix('.')?.split_once('.')?;
            let find = |all: &[(&'static str, Option<u64>)]| {
                all.iter().map(|(known, _)| *known).find(|known| *known == name)
            };
            match kind {
                "limits" => Some(Clause::Limit(find(&Ceilings::default().all())?, most)),
                "spent" => Some(Clause::Spent(find(&Quota::default().all())?, most)),
                "minute" => Some(Clause::Minute(find(&Quota::default().all())?, most)),
                _ => None,
            }
        }
        ("==", ".permissions") => Some(Clause::Permissions(BTreeSet::new())),
        ("==", ".name") => Some(Clause::Capability(BTreeSet::new())),
        ("==", ".function") if *right == Ipld::from("") => Some(Clause::Functions(BTreeSet::new())),
        ("all", ".permissions") => any_of(right, read_permission).map(Clause::Permissions),
        _ => any_of(form, read_function)
            .map(Clause::Functions)
            .or_else(|| any_of(form, read_capability).map(Clause::Capability)),
    }
}

/// The alternatives of an `or`, or the one that stands alone.
fn any_of<T: Ord>(form: &Ipld, read: impl Fn(&Ipld) -> Option<T>) -> Option<BTreeSet<T>> {
    match pair(form) {
        Some(("or", Ipld::List(any))) => any.iter().map(read).collect(),
        _ => read(form).map(|one| BTreeSet::from([one])),
    }
}

fn capability(capability: &Capability) -> Ipld {
    match capability {
        Capability::Component(id) => is(".component", *id.cid()),
        Capability::Named { author, name, version } => and([
            Some(is(".author", author.to_string())),
            Some(is(".name", name.as_str())),
            version.as_ref().map(|v| is(".version", v.to_string())),
        ]),
        Capability::Interface(interface) => like(".function", interface.as_str(), "#*"),
    }
}

fn read_capability(form: &Ipld) -> Option<Capability> {
    if let Some(("like", ".function", Ipld::String(pattern))) = triple(form) {
        // An interface has no character that a pattern must escape; what has is written otherwise.
        return pattern.strip_suffix("#*")?.parse().ok().map(Capability::Interface);
    }
    let fields = fields(form)?;
    match fields.get(".component") {
        Some(Ipld::Link(cid)) => Some(Capability::Component((*cid).try_into().ok()?)),
        _ => Some(Capability::Named {
            author: string(&fields, ".author")?.parse().ok()?,
            name: string(&fields, ".name")?.parse().ok()?,
            version: match fields.get(".version") {
                Some(_) => Some(string(&fields, ".version")?.parse().ok()?),
                None => None,
            },
        }),
    }
}

fn read_function(form: &Ipld) -> Option<FunctionName> {
    match triple(form)? {
        ("==", ".function", Ipld::String(name)) => name.parse().ok(),
        _ => None,
    }
}

fn permission(granted: &Granted) -> Ipld {
    match granted {
        Granted::Network => is(".", "network"),
        Granted::Http(Http { origin, methods, body_bytes, timeout_ms }) => and([
            Some(is(".http.origin", origin.to_string())),
            // No alternatives would be no condition.
            Some(if methods.is_empty() {
                is(".http.methods", Ipld::List(vec![]))
            } else {
                all(".http.methods", one_of(methods.iter().map(|m| is(".", m.as_str())).collect()))
            }),
            Some(at_most(".http.body_bytes", *body_bytes)),
            Some(at_most(".http.timeout_ms", *timeout_ms)),
        ]),
        Granted::Keyvalue(Keyvalue { bucket, write, keys }) => and([
            Some(is(".keyvalue.bucket", bucket.as_str())),
            (!write).then(|| is(".keyvalue.write", false)),
            keys.as_ref().map(|keys| match keys.ends_with('\\') {
                // A pattern would take the wildcard after it for a star: so that prefix alone, and none that is longer.
                true => is(".keyvalue.keys", keys.as_str()),
                false => like(".keyvalue.keys", keys, "*"),
            }),
        ]),
        Granted::Config(Config { key, value }) => {
            and([Some(is(".config.key", key.as_str())), Some(is(".config.value", value.as_str()))])
        }
        Granted::Files(Files { tree }) => is(".files.tree", *tree.cid()),
        Granted::Delegate(Delegate { target, component, depth, fuel }) => and([
            Some(is(".delegate.target", target.as_str())),
            Some(is(".delegate.component", *component.cid())),
            Some(at_most(".delegate.depth", u64::from(*depth))),
            Some(at_most(".delegate.fuel", *fuel)),
        ]),
    }
}

fn read_permission(form: &Ipld) -> Option<Granted> {
    let fields = fields(form)?;
    let text = |name| string(&fields, name).map(str::to_owned);
    let number = |name| fields.get(name).and_then(|v| u64::try_from(int(v)?).ok());
    let link = |name| match fields.get(name) {
        Some(Ipld::Link(cid)) => Some(*cid),
        _ => None,
    };
    let first = *fields.keys().next()?;
    Some(match first.split('.').nth(1)? {
        "" => Granted::Network,
        "http" => Granted::Http(Http {
            origin: text(".http.origin")?.parse().ok()?,
            methods: any_of(fields.get(".http.methods")?, |method| match triple(method)? {
                ("==", ".", Ipld::String(name)) => Some(name.clone()),
                _ => None,
            })?,
            body_bytes: number(".http.body_bytes")?,
            timeout_ms: number(".http.timeout_ms")?,
        }),
        "keyvalue" => Granted::Keyvalue(Keyvalue {
            bucket: text(".keyvalue.bucket")?,
            write: !fields.contains_key(".keyvalue.write"),
            keys: match fields.get(".keyvalue.keys") {
                // Whether the escapes are undone rightly, writing it again shows.
                Some(_) => {
                    let text = text(".keyvalue.keys")?;
                    Some(text.strip_suffix('*').map_or(text.clone(), |keys| keys.replace(r"\*", "*")))
                }
                None => None,
            },
        }),
        "config" => Granted::Config(Config { key: text(".config.key")?, value: text(".config.value")? }),
        "files" => Granted::Files(Files { tree: link(".files.tree")?.try_into().ok()? }),
        "delegate" => Granted::Delegate(Delegate {
            target: text(".delegate.target")?,
            component: link(".delegate.component")?.try_into().ok()?,
            depth: number(".delegate.depth")?.try_into().ok()?,
            fuel: number(".delegate.fuel")?,
        }),
        _ => return None,
    })
}

/// What stands for each selector in one comparison or an `and` of several, whatever the operator is.
fn fields(form: &Ipld) -> Option<BTreeMap<&str, &Ipld>> {
    match pair(form) {
        Some(("and", Ipld::List(parts))) => {
            parts.iter().map(|part| triple(part).map(|(_, selector, value)| (selector, value))).collect()
        }
        _ => triple(form).map(|(_, selector, value)| BTreeMap::from([(selector, value)])),
    }
}

fn string<'a>(fields: &BTreeMap<&str, &'a Ipld>, name: &str) -> Option<&'a str> {
    match fields.get(name)? {
        Ipld::String(text) => Some(text),
        _ => None,
    }
}

fn int(value: &Ipld) -> Option<i128> {
    match value {
        Ipld::Integer(n) => Some(*n),
        _ => None,
    }
}

fn triple(form: &Ipld) -> Option<(&str, &str, &Ipld)> {
    match form {
        Ipld::List(parts) => match parts.as_slice() {
            [Ipld::String(operator), Ipld::String(selector), value] => Some((operator, selector, value)),
            _ => None,
        },
        _ => None,
    }
}

fn pair(form: &Ipld) -> Option<(&str, &Ipld)> {
    match form {
        Ipld::List(parts) => match parts.as_slice() {
            [Ipld::String(operator), value] => Some((operator, value)),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn statement(operator: &str, left: Ipld, right: Ipld) -> Ipld {
    Ipld::List(vec![Ipld::from(operator), left, right])
}

fn is(selector: &str, value: impl Into<Ipld>) -> Ipld {
    statement("==", Ipld::from(selector), value.into())
}

fn at_most(selector: &str, most: u64) -> Ipld {
    statement("<=", Ipld::from(selector), Ipld::from(most))
}

/// Text that begins so, whatever it begins with, and goes on as a pattern says.
fn like(selector: &str, beginning: &str, rest: &str) -> Ipld {
    let beginning = Pattern::exactly(beginning);
    statement("like", Ipld::from(selector), Ipld::from(format!("{}{rest}", beginning.as_str())))
}

fn all(selector: &str, each: Ipld) -> Ipld {
    statement("all", Ipld::from(selector), each)
}

fn and<const N: usize>(parts: [Option<Ipld>; N]) -> Ipld {
    several("and", parts.into_iter().flatten().collect())
}

fn one_of(any: Vec<Ipld>) -> Ipld {
    several("or", any)
}

/// One statement stands alone.
fn several(operator: &str, mut parts: Vec<Ipld>) -> Ipld {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            Ipld::List(vec![Ipld::from(operator), Ipld::List(parts)])
        }
    }
}

/// A statement as it is written.
pub(super) fn ipld_of(statement: &Statement) -> Ipld {
    Ipld::from(statement.clone())
}

/// The selectors into the arguments; those of `all` and `any` into their elements are none.
fn selectors(statement: &Statement) -> Vec<&Selector> {
    match statement {
        Statement::Eq(selector, _)
        | Statement::Ne(selector, _)
        | Statement::Lt(selector, _)
        | Statement::Le(selector, _)
        | Statement::Gt(selector, _)
        | Statement::Ge(selector, _)
        | Statement::Like(selector, _)
        | Statement::All(selector, _)
        | Statement::Any(selector, _) => vec![selector],
        Statement::And(parts) | Statement::Or(parts) => parts.iter().flat_map(selectors).collect(),
        Statement::Not(inner) => selectors(inner),
    }
}

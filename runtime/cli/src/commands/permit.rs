//! `--grant`: what a guest is given of the real world, from what a person types to the narrow permission an action carries.

use crate::error::{CliError, Kind};
use actum_model::{BlobId, ComponentId, Granted, Permission, permission};
use actum_node::{Home, resolve, tree};
use std::{collections::BTreeSet, path::Path};

/// What a component asks to be granted, and what to call it.
pub(super) struct Asks {
    /// The release's `name@version`, or what was typed.
    pub(super) who: String,
    /// The kinds it asks for.
    pub(super) kinds: BTreeSet<Permission>,
}

/// Checks what can be checked without a home: names of components and directories are looked up later.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let kind = text.split_once(':').map(|(kind, rest)| (kind.parse::<Permission>(), rest));
    match kind {
        Some((Ok(Permission::Delegate | Permission::Files), rest)) if !rest.is_empty() => {}
        _ => drop(text.parse::<Granted>()?),
    }
    Ok(text.to_owned())
}

/// The permissions that these texts mean in this home. What the component does not ask for is refused: it could not use it.
pub(super) fn resolve(home: &Home, texts: &[String], asks: &Asks) -> Result<BTreeSet<Granted>, CliError> {
    let granted = granted(home, texts)?;
    if let Some(one) = granted.iter().find(|one| !asks.kinds.contains(&one.permission())) {
        let message = format!("{} does not ask for {}", asks.who, one.permission());
        let kinds: Vec<_> = asks.kinds.iter().map(form).collect();
        return Err(CliError::new(Kind::Usage, message).hint(match kinds.is_empty() {
            true => "it asks for nothing: leave --grant out".to_owned(),
            false => format!("it asks for --grant {}", kinds.join(", --grant ")),
        }));
    }
    permission::check_granted(&granted).map_err(usage)?;
    Ok(granted)
}

/// The permissions that these texts mean in this home, whoever will use them.
pub(super) fn granted(home: &Home, texts: &[String]) -> Result<BTreeSet<Granted>, CliError> {
    texts.iter().map(|text| one(home, text)).collect()
}

/// How a permission is granted, with what is to be filled in.
pub(super) fn form(permission: &Permission) -> &'static str {
    match permission {
        Permission::Network => "network",
        Permission::Http => "http:https://<host>",
        Permission::Keyvalue => "keyvalue:<bucket>",
        Permission::Config => "config:<key>=<value>",
        Permission::Files => "files:<directory or tree id>",
        Permission::Delegate => "delegate:<target>=<name or component id>",
    }
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::new(Kind::Usage, message)
}

fn one(home: &Home, text: &str) -> Result<Granted, CliError> {
    if let Ok(granted) = text.parse() {
        return Ok(granted);
    }
    let granted = match text.split_once(':') {
        Some(("delegate", rest)) => delegate(home, rest)?,
        Some(("files", directory)) => Granted::Files(permission::Files { tree: tree(home, directory)? }),
        _ => text.parse().map_err(usage)?,
    };
    granted.check().map_err(usage)?;
    Ok(granted)
}

/// `<target>=<name[@version]>`, or a name alone, which is then the target too. Bounds may follow.
fn delegate(home: &Home, text: &str) -> Result<Granted, CliError> {
    let (head, depth, fuel) = permission::Delegate::split(text).map_err(usage)?;
    let (target, name) = head.split_once('=').unwrap_or((head.split('@').next().unwrap_or(head), head));
    let component = match name.parse::<ComponentId>() {
        Ok(id) => id,
        Err(_) => resolve::find_release(home, name)?.payload().component,
    };
    Ok(Granted::Delegate(permission::Delegate { target: target.to_owned(), component, depth, fuel }))
}

/// The tree of a directory, imported into this home.
fn tree(home: &Home, directory: &str) -> Result<BlobId, CliError> {
    tree::import(home.store(), Path::new(directory)).map_err(|e| usage(format!("files: {e}")))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_no_home_could_make_sense_of_is_refused_when_it_is_typed() {
        for good in
            ["http:https://example.com", "keyvalue:n", "delegate:words", "delegate:a=b,depth=2", "files:."]
        {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "htp:https://example.com", "http:example.com", "keyvalue", "delegate:", "files"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

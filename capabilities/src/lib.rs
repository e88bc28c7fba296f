//! The capabilities that come with Actum, and the guests its tests are made of, as bytes compiled from this repository.
//!
//! The build script compiles each folder beside this crate (`capabilities/<name>`, package `actum-cap-<name>`) and each
//! test guest (`tests/guests/<name>`, package `guest-<name>`) for `wasm32-wasip2`. No binary is committed, and nothing
//! here runs a component.
//!
//! # A component without a test does not compile
//!
//! [`foreach_capability!`] and [`foreach_guest!`] call a macro with each one's name in snake case. Given
//! [`assert_test_exists!`], they refuse to compile in a module that has no item of that name:
//!
//! ```ignore
//! mod capabilities {
//!     #[test]
//!     fn markdown() { /* run it */ }
//!     // one for each …
//!
//!     use actum_capabilities::assert_test_exists;
//!     actum_capabilities::foreach_capability!(assert_test_exists);
//! }
//! ```

/// A capability: a component, what it promises, and how it presents itself.
#[derive(Debug)]
#[non_exhaustive]
pub struct Capability {
    /// Its name and its folder's, in kebab case.
    pub name: &'static str,
    /// The component, in the binary format.
    pub component: &'static [u8],
    /// Its WIT package: each file's name and text, in the order of their names.
    pub wit: &'static [(&'static str, &'static str)],
    /// Its manifest, the text of `actum.toml`. The path under `wit` in it is relative to `capabilities/<name>`.
    pub manifest: &'static str,
}

/// A component for tests: hostile, odd or plain.
#[derive(Debug)]
#[non_exhaustive]
pub struct Guest {
    /// Its name and its folder's, in kebab case.
    pub name: &'static str,
    /// The component, in the binary format.
    pub component: &'static [u8],
    /// Its WIT package: each file's name and text; empty for a command program, which has none.
    pub wit: &'static [(&'static str, &'static str)],
}

/// The capability of this name (in kebab case), if there is one.
#[must_use]
pub fn find(name: &str) -> Option<&'static Capability> {
    ALL.iter().find(|capability| capability.name == name).copied()
}

/// Refuses to compile where the invoking module has no item called `$name`. For [`foreach_capability!`] and
/// [`foreach_guest!`].
#[macro_export]
macro_rules! assert_test_exists {
    ($name:ident) => {
        #[allow(unused_imports, reason = "naming it is the whole check")]
        use self::$name as _;
    };
}

include!(concat!(env!("OUT_DIR"), "/generated.rs"));

#[cfg(test)]
mod tests {
    use super::{ALL, find, guests};

    /// What every component in the binary format starts with: magic, version 13, layer 1.
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn contains(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn every_capability_is_a_component_with_a_contract_and_an_example() {
        for capability in ALL {
            let name = capability.name;
            assert!(capability.component.starts_with(COMPONENT), "{name}");
            assert!(capability.manifest.contains(&format!("name = {name:?}\n")), "{name}");
            assert!(capability.manifest.contains("[[example]]"), "{name}");
            let [("world.wit", wit)] = capability.wit else { panic!("{name}: {:?}", capability.wit) };
            assert!(wit.contains(&format!("package actum:{name}@")), "{name}");
            assert_eq!(find(name).map(|found| found.name), Some(name));
        }
        assert!(find("no-such-capability").is_none());
    }

    #[test]
    fn every_guest_is_a_component_and_all_but_the_command_are_typed() {
        for guest in guests::ALL {
            assert!(guest.component.starts_with(COMPONENT), "{}", guest.name);
            assert_eq!(guest.wit.is_empty(), guest.name == "command", "{}", guest.name);
        }
    }

    #[test]
    fn no_path_of_the_building_machine_is_in_a_component() {
        let here = env!("CARGO_MANIFEST_DIR");
        let out = env!("OUT_DIR");
        let components = ALL.iter().map(|capability| (capability.name, capability.component));
        for (name, component) in
            components.chain(guests::ALL.iter().map(|guest| (guest.name, guest.component)))
        {
            assert!(!contains(component, here) && !contains(component, out), "{name}");
        }
    }
}

//! What a Rust author of a capability needs: one macro that joins a type to a WIT world.
//!
//! A capability is a Wasm component with typed exports, and any toolchain may make one. This crate is a convenience for
//! Rust and nothing more: [`capability!`] runs [`wit_bindgen::generate!`] over your WIT package and exports your type.
//! There is no runtime here, no Actum-specific import, and nothing in the finished component that says Actum.
//!
//! # A capability in full
//!
//! The WIT package (`wit/world.wit`) is the contract. Its doc comments are what others read when they look for you:
//!
//! ```wit
//! package example:greet@0.1.0;
//!
//! interface greeter {
//!     /// Greet somebody by name.
//!     greet: func(name: string) -> string;
//! }
//!
//! world capability {
//!     export greeter;
//! }
//! ```
//!
//! The crate (`crate-type = ["cdylib"]`) implements it:
//!
//! ```
//! # mod example {
//! actum_guest::capability! {
//!     wit: "doc/greet",
//!     implement: Greeter,
//! }
//!
//! use bindings::exports::example::greet::greeter::Guest;
//!
//! struct Greeter;
//!
//! impl Guest for Greeter {
//!     fn greet(name: String) -> String {
//!         format!("Hello, {name}!")
//!     }
//! }
//! # pub fn test() { assert_eq!(Greeter::greet("Ada".into()), "Hello, Ada!"); }
//! # }
//! # fn main() { example::test() }
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` makes the component; `actum build` does the same and checks it.
//! The trait's functions are ordinary Rust, so `cargo test` tests them natively, without Wasm.
//!
//! # What a capability can count on
//!
//! - **Every call starts afresh**: one instance per action, so a `static` never carries anything over.
//! - **The world is virtual**: clocks start at the action's time base and advance by rule, randomness comes from the
//!   action's seed, there is no environment, no network and no file but those of a tree the caller grants. The same arguments
//!   give the same answer.
//! - **Bad input is an answer**: return the `err` of a `result`. A panic ends the action as a trap, which tells the
//!   caller nothing about what to change.
//! - **Everything is bounded**: fuel, memory, stack, output. Refuse what you cannot handle before doing the work.

pub use wit_bindgen;

/// Generates bindings for a WIT world and exports a type as its implementation.
///
/// ```text
/// capability! {
///     wit: "path",          // WIT file or directory, relative to the crate's Cargo.toml
///     world: "name",        // only where the package has more than one world
///     implement: Type,      // a type of the invoking module
/// }
/// ```
///
/// It expands to a private module `bindings`. For an interface `ns:package/interface` the trait to implement is
/// `bindings::exports::ns::package::interface::Guest`, and the WIT records, variants, enums and flags are Rust types
/// beside it. A world that exports bare functions has its trait at `bindings::Guest`. Imported interfaces, if any, are
/// `bindings::ns::package::interface`.
///
/// Invoke it once per module. Anything it does not cover, [`wit_bindgen::generate!`] does: give it
/// `runtime_path: "actum_guest::wit_bindgen::rt"` and this crate stays your only dependency for bindings.
///
/// # Errors
///
/// All at compile time: a path that is not a WIT package, WIT that does not parse, a world that is not there, or a
/// type that does not implement what the world exports.
#[macro_export]
macro_rules! capability {
    (wit: $wit:literal, implement: $implementation:ident $(,)?) => {
        $crate::capability! { @bindings $implementation, { path: $wit } }
    };
    (wit: $wit:literal, world: $world:literal, implement: $implementation:ident $(,)?) => {
        $crate::capability! { @bindings $implementation, { path: $wit, world: $world } }
    };
    (@bindings $implementation:ident, { $($option:ident : $value:literal),* }) => {
        #[allow(
            unsafe_code,
            missing_docs,
            unreachable_pub,
            dead_code,
            clippy::all,
            clippy::allow_attributes_without_reason,
            reason = "generated: the component model's calling convention is raw memory"
        )]
        mod bindings {
            use super::$implementation;

            $crate::wit_bindgen::generate!({
                $($option: $value,)*
                runtime_path: "actum_guest::wit_bindgen::rt",
                generate_all,
            });

            export!($implementation with_types_in self);
        }
    };
}

//! What a component may be made of, checked before the compiler sees any of it.
//!
//! The compiler is not built for hostile input: within the rules of WebAssembly a few kilobytes can ask it for hours and
//! for all memory. Every number here is therefore a property of the component alone, counted in one pass whose time is
//! proportional to the bytes, without recursion. Whether a component is runnable follows from them, so each is a
//! setting of the profile: a replay elsewhere refuses what is refused here.

mod types;
mod walk;

use crate::error::LoadError;
pub(crate) use walk::check;

/// A limit of what is compiled.
pub(crate) struct Bound {
    /// Its name, as the profile's settings and [`LoadError::OverBound`] spell it.
    pub(crate) name: &'static str,
    /// The most allowed.
    pub(crate) most: u64,
}

impl Bound {
    /// Refuses what is over the bound.
    pub(crate) fn admit(&self, asked: u64) -> Result<(), LoadError> {
        if asked > self.most {
            return Err(LoadError::OverBound { limit: self.name, asked, allowed: self.most });
        }
        Ok(())
    }
}

/// Components inside components inside components. Against a compiler that keeps each level open while it reads the
/// next. A composition of compositions has about 5.
pub(crate) const DEPTH: Bound = Bound { name: "load-depth", most: 32 };
/// Types declared inside types (instance and component types only; values nest by reference). Against the engine's own
/// reader, which recurses natively: three bytes a level, so 64 MiB would end the process, not the guest. WIT packages
/// have 4.
pub(crate) const TYPE_DEPTH: Bound = Bound { name: "load-type-depth", most: 32 };
/// Types and declarations inside types, summed over everything. Against quadratic comparison of types. The largest
/// known, a WIT-heavy Python application, has about 5,000.
pub(crate) const TYPES: Bound = Bound { name: "load-types", most: 200_000 };
/// Core modules and components defined, summed. Against the fixed cost of each. A component of the usual tools has 2 to
/// 40: one a linked library.
pub(crate) const MODULES: Bound = Bound { name: "load-modules", most: 1_000 };
/// Instances, canonical functions and aliases after every instantiation of a component is written out, which is what the
/// compiler does. Against a component that instantiates one a thousand times, which instantiates one a thousand times.
/// A component whose definition is not in the file where it is instantiated (an import, another instance's export)
/// counts as over the bound: how large it becomes cannot be told, and no toolchain makes one.
pub(crate) const INSTANCES: Bound = Bound { name: "load-instances", most: 100_000 };
/// Imports and exports, summed over all modules and components. Against tables and names kept for each.
pub(crate) const ITEMS: Bound = Bound { name: "load-items", most: 200_000 };
/// Globals, tables, memories, element and data segments, summed over all modules. Against the fixed cost of each. A
/// snapshot of a JavaScript engine is cut into up to 10,000 data segments.
pub(crate) const SEGMENTS: Bound = Bound { name: "load-segments", most: 200_000 };
/// Functions with a body, summed over all modules. Against the fixed cost of compiling each. SpiderMonkey has 20,000.
pub(crate) const FUNCTIONS: Bound = Bound { name: "load-functions", most: 200_000 };
/// Bytes of code, summed over all modules; 32 MiB. Compiling takes two to six seconds of CPU a megabyte. SpiderMonkey has
/// 10 MiB; what else makes a component large is data, which is not compiled.
pub(crate) const CODE_BYTES: Bound = Bound { name: "load-code-bytes", most: 32 << 20 };
/// Bytes of one function; 1 MiB. Against what the compiler does in more than linear time, and because one function is
/// compiled by one thread. The largest known has 172,000.
pub(crate) const FUNCTION_BYTES: Bound = Bound { name: "load-function-bytes", most: 1 << 20 };
/// Locals of one function. Against five bytes that declare fifty thousand. The most known is 483.
pub(crate) const LOCALS: Bound = Bound { name: "load-locals", most: 20_000 };
/// Locals times branches (blocks and branch targets; a loop counts once more for each loop around it) of one function; 8
/// million. Against the compiler's table of every local's value at every joint of the control flow: some hundred bytes
/// and a microsecond for each, ten times that in nested loops. The most known is half a million, in an interpreter.
pub(crate) const FUNCTION_JOINTS: Bound = Bound { name: "load-function-joints", most: 8 << 20 };
/// The same, summed over all functions; 128 million. Against many functions that each stay just below it. SpiderMonkey
/// has 8 million.
pub(crate) const JOINTS: Bound = Bound { name: "load-joints", most: 128 << 20 };

/// Every bound, for the profile.
pub(crate) const ALL: [&Bound; 13] = [
    &DEPTH,
    &TYPE_DEPTH,
    &TYPES,
    &MODULES,
    &INSTANCES,
    &ITEMS,
    &SEGMENTS,
    &FUNCTIONS,
    &CODE_BYTES,
    &FUNCTION_BYTES,
    &LOCALS,
    &FUNCTION_JOINTS,
    &JOINTS,
];

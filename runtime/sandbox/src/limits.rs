//! The meter: memory and tables summed over the whole action, refused with a typed error when a limit is reached.
//!
//! A refusal ends the guest at once. It is never the `-1` of `memory.grow`, which each toolchain answers differently.

use crate::error::Stop;
use actum_model::Limits;
use wasmtime::ResourceLimiter;

/// Counts what one action holds.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_limit: u64,
    table_limit: u64,
    instance_limit: usize,
    memory: u64,
    tables: u64,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            instance_limit: usize::try_from(limits.instances).unwrap_or(usize::MAX),
            memory: 0,
            tables: 0,
        }
    }

    /// The most linear memory held at once, in bytes. Linear memory never shrinks, so it is what is held now.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory
    }
}

/// Adds a growth to a sum. Over the limit it ends the guest; else over `maximum` it is the guest's `-1`.
///
/// The limit comes first because `maximum` is the declared one or the pool's, whichever is lower. The pool's is never
/// below an action's limit, so this order keeps the pool from being observed.
fn grow(
    sum: &mut u64,
    current: usize,
    desired: usize,
    maximum: Option<usize>,
    limit: u64,
) -> wasmtime::Result<bool> {
    let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
    let new = sum.saturating_add(more);
    if new > limit {
        return Err(Stop::Memory.into());
    }
    if maximum.is_some_and(|m| desired > m) {
        return Ok(false);
    }
    *sum = new;
    Ok(true)
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        grow(&mut self.memory, current, desired, maximum, self.memory_limit)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::Host(crate::error::chain(&error)).into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        grow(&mut self.tables, current, desired, maximum, self.table_limit)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::Host(crate::error::chain(&error)).into())
    }

    fn instances(&self) -> usize {
        self.instance_limit
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        usize::MAX
    }
}

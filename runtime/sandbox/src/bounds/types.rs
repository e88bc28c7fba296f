//! Type sections, counted without recursion: the reader of whole types recurses as deep as the bytes say.

use super::{Bound, TYPE_DEPTH, TYPES};
use crate::error::LoadError;
use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternName, ComponentImport, ComponentType, ComponentTypeRef,
    CoreType, ModuleTypeDeclaration,
};

/// What opens a component type and an instance type, and a module type among core types.
const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;
const MODULE: u8 = 0x50;

/// Counts the types of a component's type section and all they declare, adding to `types`.
pub(super) fn component(mut section: BinaryReader<'_>, types: &mut u64) -> Result<(), LoadError> {
    let mut outermost = section.read_var_u32()?;
    // How many declarations each open type still has.
    let mut open: Vec<u32> = Vec::new();
    loop {
        let inside = !open.is_empty();
        let left = open.last_mut().unwrap_or(&mut outermost);
        if *left == 0 {
            if open.pop().is_none() {
                return Ok(());
            }
            continue;
        }
        *left -= 1;
        count(types, 1)?;
        // A section holds types; a type holds declarations, one kind of which is types.
        if inside && !declares_a_type(&mut section, types)? {
            continue;
        }
        match section.clone().read_u8()? {
            COMPONENT | INSTANCE => {
                section.read_u8()?;
                open.push(section.read_var_u32()?);
                TYPE_DEPTH.admit(open.len() as u64)?;
            }
            _ => {
                section.read::<ComponentType<'_>>()?;
            }
        }
    }
}

/// Reads a declaration up to the type it declares; one that declares none is read whole.
fn declares_a_type(section: &mut BinaryReader<'_>, types: &mut u64) -> Result<bool, LoadError> {
    match section.read_u8()? {
        0x00 => core_type(section, types)?,
        0x01 => return Ok(true),
        0x02 => {
            section.read::<ComponentAlias<'_>>()?;
        }
        0x03 => {
            section.read::<ComponentImport<'_>>()?;
        }
        0x04 => {
            section.read::<ComponentExternName<'_>>()?;
            section.read::<ComponentTypeRef>()?;
        }
        _ => return Err(LoadError::Invalid { reason: "an unknown declaration in a type".to_owned() }),
    }
    Ok(false)
}

/// Counts a component's core types.
pub(super) fn core(mut section: BinaryReader<'_>, types: &mut u64) -> Result<(), LoadError> {
    for _ in 0..section.read_var_u32()? {
        core_type(&mut section, types)?;
    }
    Ok(())
}

fn core_type(section: &mut BinaryReader<'_>, types: &mut u64) -> Result<(), LoadError> {
    count(types, 1)?;
    if section.clone().read_u8()? != MODULE {
        section.read::<CoreType<'_>>()?;
        return Ok(());
    }
    section.read_u8()?;
    for _ in 0..section.read_var_u32()? {
        count(types, 1)?;
        section.read::<ModuleTypeDeclaration<'_>>()?;
    }
    Ok(())
}

/// Adds to a sum under a bound.
fn count(types: &mut u64, more: u64) -> Result<(), LoadError> {
    add(&TYPES, types, more)
}

/// Adds to a sum and refuses one over its bound.
pub(super) fn add(bound: &Bound, sum: &mut u64, more: u64) -> Result<(), LoadError> {
    *sum = sum.saturating_add(more);
    bound.admit(*sum)
}

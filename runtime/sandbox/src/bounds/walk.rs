//! The walk over a component's sections, and over those of everything inside it.

use super::types::{self, add};
use super::{
    CODE_BYTES, DEPTH, FUNCTION_BYTES, FUNCTION_JOINTS, FUNCTIONS, INSTANCES, ITEMS, JOINTS, LOCALS, MODULES,
    SEGMENTS, TYPES,
};
use crate::error::LoadError;
use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    FunctionBody, Operator, Parser, Payload, SectionLimited,
};

/// Refuses a component that is over a bound, or is no component at all.
///
/// # Errors
/// [`LoadError::OverBound`] for the first bound exceeded, in the order of the bytes; [`LoadError::Invalid`] where they
/// cannot be read. What is left to find for the engine's own validation is not looked for.
pub(crate) fn check(component: &[u8]) -> Result<(), LoadError> {
    let mut walk = Walk { open: vec![Level::default()], ..Walk::default() };
    for payload in Parser::new(0).parse_all(component) {
        walk.section(component, payload?)?;
    }
    Ok(())
}

impl From<wasmparser::Error> for LoadError {
    fn from(error: wasmparser::Error) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

/// What has been counted so far.
#[derive(Default)]
struct Walk {
    /// The components and modules being read, outermost first.
    open: Vec<Level>,
    types: u64,
    modules: u64,
    items: u64,
    segments: u64,
    functions: u64,
    code_bytes: u64,
    joints: u64,
}

/// A component, or a module, being read.
#[derive(Default)]
struct Level {
    is_module: bool,
    /// What it becomes when written out, so far.
    instances: u64,
    /// What each entry of its index space of components becomes. `None` where the file does not say.
    components: Vec<Option<u64>>,
}

impl Walk {
    fn section(&mut self, whole: &[u8], payload: Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::ModuleSection { .. } => self.enter(true)?,
            Payload::ComponentSection { .. } => self.enter(false)?,
            Payload::End(_) => self.leave()?,
            Payload::TypeSection(s) => add(&TYPES, &mut self.types, s.count().into())?,
            Payload::CoreTypeSection(s) => types::core(reader(whole, &s)?, &mut self.types)?,
            Payload::ComponentTypeSection(s) => types::component(reader(whole, &s)?, &mut self.types)?,
            Payload::ImportSection(s) => self.item(s.count())?,
            Payload::ExportSection(s) => self.item(s.count())?,
            Payload::ComponentImportSection(s) => {
                self.item(s.count())?;
                for import in s {
                    if import?.ty.kind() == ComponentExternalKind::Component {
                        self.define(None);
                    }
                }
            }
            Payload::ComponentExportSection(s) => {
                self.item(s.count())?;
                for export in s {
                    let export = export?;
                    // An export is a new name in the index space of what it exports.
                    if export.kind == ComponentExternalKind::Component {
                        self.define(self.component(0, export.index));
                    }
                }
            }
            Payload::TableSection(s) => self.segment(s.count())?,
            Payload::MemorySection(s) => self.segment(s.count())?,
            Payload::GlobalSection(s) => self.segment(s.count())?,
            Payload::ElementSection(s) => self.segment(s.count())?,
            Payload::DataSection(s) => self.segment(s.count())?,
            Payload::InstanceSection(s) => self.instances(s.count().into())?,
            Payload::ComponentCanonicalSection(s) => self.instances(s.count().into())?,
            Payload::ComponentInstanceSection(s) => {
                for instance in s {
                    let becomes = match instance? {
                        ComponentInstance::FromExports(exports) => exports.len() as u64,
                        ComponentInstance::Instantiate { component_index, .. } => {
                            self.component(0, component_index).unwrap_or(u64::MAX)
                        }
                    };
                    self.instances(becomes.saturating_add(1))?;
                }
            }
            Payload::ComponentAliasSection(s) => {
                self.instances(s.count().into())?;
                for alias in s {
                    self.alias(alias?);
                }
            }
            Payload::CodeSectionStart { count, size, .. } => {
                add(&FUNCTIONS, &mut self.functions, count.into())?;
                add(&CODE_BYTES, &mut self.code_bytes, size.into())?;
            }
            Payload::CodeSectionEntry(body) => self.function(&body)?,
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, is_module: bool) -> Result<(), LoadError> {
        add(&MODULES, &mut self.modules, 1)?;
        self.open.push(Level { is_module, ..Level::default() });
        DEPTH.admit(self.open.len() as u64)
    }

    /// Ends a module or component. The one around it then has a component more to instantiate.
    fn leave(&mut self) -> Result<(), LoadError> {
        let ended = self.open.pop();
        if let Some(Level { is_module: false, instances, .. }) = ended {
            self.define(Some(instances));
        }
        Ok(())
    }

    fn item(&mut self, more: u32) -> Result<(), LoadError> {
        add(&ITEMS, &mut self.items, more.into())
    }

    fn segment(&mut self, more: u32) -> Result<(), LoadError> {
        add(&SEGMENTS, &mut self.segments, more.into())
    }

    fn instances(&mut self, more: u64) -> Result<(), LoadError> {
        self.open.last_mut().map_or(Ok(()), |level| add(&INSTANCES, &mut level.instances, more))
    }

    fn define(&mut self, component: Option<u64>) {
        if let Some(level) = self.open.last_mut() {
            level.components.push(component);
        }
    }

    /// What a component becomes, by its index in the component that is so many levels further out.
    fn component(&self, out: u32, index: u32) -> Option<u64> {
        let level = self.open.iter().rev().nth(usize::try_from(out).ok()?)?;
        *level.components.get(usize::try_from(index).ok()?)?
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                self.define(None);
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                self.define(self.component(count, index));
            }
            _ => {}
        }
    }

    fn function(&mut self, body: &FunctionBody<'_>) -> Result<(), LoadError> {
        FUNCTION_BYTES.admit(body.as_bytes().len() as u64)?;
        let mut locals = 0;
        for declared in body.get_locals_reader()? {
            let (count, _) = declared?;
            add(&LOCALS, &mut locals, count.into())?;
        }
        let joints = locals.saturating_mul(branches(body)?);
        FUNCTION_JOINTS.admit(joints)?;
        add(&JOINTS, &mut self.joints, joints)
    }
}

/// Blocks and branch targets of a function. A loop counts once more for each loop around it.
fn branches(body: &FunctionBody<'_>) -> Result<u64, LoadError> {
    let mut branches = 1u64;
    // The loops around what is read, and for each open block whether it is one.
    let mut loops = 0u64;
    let mut open: Vec<bool> = Vec::new();
    for operator in body.get_operators_reader()? {
        let count = match operator? {
            Operator::Loop { .. } => {
                open.push(true);
                loops += 1;
                loops
            }
            Operator::Block { .. } | Operator::If { .. } => {
                open.push(false);
                1
            }
            Operator::End => {
                loops -= u64::from(open.pop().unwrap_or_default());
                0
            }
            Operator::BrTable { targets } => u64::from(targets.len()).saturating_add(1),
            Operator::Else | Operator::Br { .. } | Operator::BrIf { .. } => 1,
            _ => 0,
        };
        branches = branches.saturating_add(count);
    }
    Ok(branches)
}

/// A section's bytes once more, its count included.
fn reader<'a, T>(whole: &'a [u8], section: &SectionLimited<'_, T>) -> Result<BinaryReader<'a>, LoadError> {
    let range = section.range();
    let bytes = whole.get(range.clone()).ok_or(LoadError::Truncated { at: range.start })?;
    Ok(BinaryReader::new(bytes, range.start))
}

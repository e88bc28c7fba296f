//! Loading: bytes from anywhere become a compiled component whose id is the digest of those very bytes.

use crate::bounds;
use crate::cache;
use crate::convert::{self, Budget};
use crate::engine::Sandbox;
use crate::error::{LoadError, chain};
use crate::execute::{CancelToken, Way};
use crate::world::{self, Source, State};
use crate::{command, fast};
use actum_model::release::MAX_COMPONENT_BYTES;
use actum_model::{ComponentId, Function, FunctionName, Granted, Outcome, Param, Permission};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use std::{fmt, str};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

/// A component ready to run.
pub struct Loaded {
    id: ComponentId,
    functions: Vec<Function>,
    left_out: Vec<LeftOut>,
    imports: Vec<Import>,
    exports: HashMap<FunctionName, Export>,
    /// Linked, unless something it imports is never given.
    pub(crate) ready: Option<InstancePre<State>>,
}

/// How an exported function is reached and called.
pub(crate) struct Export {
    pub(crate) index: ComponentExportIndex,
    pub(crate) function: usize,
    pub(crate) way: Way,
}

/// Something a component asks for from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name, e.g. `wasi:http/outgoing-handler@0.2.0`.
    pub name: String,
    /// The permission it needs, where there is one.
    pub permission: Option<Permission>,
    /// Whether it is there at all: in the virtual world, or for an action granted [`Self::permission`].
    pub provided: bool,
}

/// An exported function that cannot be offered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name, as the component spells it.
    pub name: String,
    /// Why, e.g. `takes a resource`.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is left out: {}", self.name, self.reason)
    }
}

impl Loaded {
    /// The component's id: the digest of the bytes that were validated.
    pub fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Every callable function, from the component's own types, in the order of its exports. Their docs are empty: a
    /// finished component has none. A toolchain's own exports are here too; offer only those of a release's contract.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// A callable function by its full name.
    pub fn function(&self, name: &FunctionName) -> Option<&Function> {
        self.exports.get(name).and_then(|e| self.functions.get(e.function))
    }

    /// The exported functions that are not callable, with the reason.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Everything it imports, in the component's order.
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The imports an action with these permissions does not get, sorted: what a denial names. Empty when it can run.
    ///
    /// A component denied for `wasi:sockets` may never open one: some libcs import it always. It is refused all the
    /// same, since what is not provided cannot be linked.
    pub fn denied(&self, granted: &BTreeSet<Granted>) -> Vec<String> {
        let has = |p: &Permission| granted.iter().any(|g| g.permission() == *p);
        let missing = |i: &&Import| !i.provided || !i.permission.as_ref().is_none_or(has);
        let mut names: Vec<String> = self.imports.iter().filter(missing).map(|i| i.name.clone()).collect();
        // Cut first: two long names may be the same one afterwards.
        names.iter_mut().for_each(|n| n.truncate(n.floor_char_boundary(Outcome::DENIED_NAME_BYTES)));
        names.sort();
        names.dedup();
        names.truncate(Outcome::DENIED_NAMES);
        names
    }

    pub(crate) fn export(&self, name: &FunctionName) -> Option<(&Export, &Function)> {
        let export = self.exports.get(name)?;
        Some((export, self.functions.get(export.function)?))
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Validates and compiles a component, or gives the one already compiled from the same bytes.
    ///
    /// Two loads of the same bytes at once compile once. Blocks for as long as compiling takes: seconds for megabytes,
    /// and never longer than its turn and itself may take, [`SandboxConfig::compile_wall_clock`] each.
    ///
    /// [`SandboxConfig::compile_wall_clock`]: crate::SandboxConfig::compile_wall_clock
    ///
    /// # Errors
    /// [`LoadError`], each refusal told apart. Nothing larger than
    /// [`MAX_COMPONENT_BYTES`](actum_model::release::MAX_COMPONENT_BYTES) is looked at.
    pub fn load(&self, component: &[u8]) -> Result<Arc<Loaded>, LoadError> {
        self.load_from(component, None, None)
    }

    /// As [`Self::load`], and ends with [`LoadError::Cancelled`] soon after the token is cancelled. A compilation that has
    /// begun goes on all the same, for whoever asks next.
    ///
    /// # Errors
    /// As [`Self::load`], and [`LoadError::Cancelled`].
    pub fn load_cancellable(&self, component: &[u8], cancel: &CancelToken) -> Result<Arc<Loaded>, LoadError> {
        self.load_from(component, Some(cancel), None)
    }

    /// As [`Self::load_cancellable`], waiting for a compilation until `deadline` at the longest.
    ///
    /// # Errors
    /// As [`Self::load_cancellable`].
    pub fn load_before(
        &self,
        component: &[u8],
        cancel: &CancelToken,
        deadline: Instant,
    ) -> Result<Arc<Loaded>, LoadError> {
        self.load_from(component, Some(cancel), Some(deadline))
    }

    fn load_from(
        &self,
        component: &[u8],
        cancel: Option<&CancelToken>,
        deadline: Option<Instant>,
    ) -> Result<Arc<Loaded>, LoadError> {
        within_size(component)?;
        self.load_named(ComponentId::of(component), component, cancel, deadline)
    }

    /// As [`Self::load_cancellable`], for bytes whose id has just been computed.
    pub(crate) fn load_named(
        &self,
        id: ComponentId,
        component: &[u8],
        cancel: Option<&CancelToken>,
        deadline: Option<Instant>,
    ) -> Result<Arc<Loaded>, LoadError> {
        within_size(component)?;
        if let Some(loaded) = self.loaded(&id) {
            return Ok(loaded);
        }
        if let Some(compiled) = self.cached(&id) {
            return Ok(self.inner.shelf.put(Arc::new(self.describe(id, &compiled)?)));
        }
        recognise(component)?;
        bounds::check(component)?;
        self.have_compiled(id, component, cancel, deadline)
    }

    /// A component that is loaded now, by its id. Never waits for one being compiled.
    pub fn loaded(&self, id: &ComponentId) -> Option<Arc<Loaded>> {
        self.inner.shelf.get(id)
    }

    /// What the cache on disk has of a component. It was within every bound when it was compiled: the profile, and the
    /// bounds with it, is in what the file is bound to.
    fn cached(&self, id: &ComponentId) -> Option<Component> {
        let compilers = &self.inner.compilers;
        match self.inner.cache.as_ref()?.find(&self.inner.engine, id) {
            cache::Found::Compiled(compiled) => {
                compilers.cached.fetch_add(1, Ordering::Relaxed);
                Some(compiled)
            }
            cache::Found::Disbelieved => {
                compilers.disbelieved.fetch_add(1, Ordering::Relaxed);
                None
            }
            cache::Found::Nothing => None,
        }
    }

    /// Compiles a component that is within every bound, and keeps what comes of it.
    pub(crate) fn compile(&self, id: ComponentId, bytes: &[u8]) -> Result<Loaded, LoadError> {
        let compiled = Component::from_binary(&self.inner.engine, bytes)
            .map_err(|e| LoadError::Invalid { reason: chain(&e) })?;
        self.inner.compilers.compiled.fetch_add(1, Ordering::Relaxed);
        let loaded = self.describe(id, &compiled)?;
        if let Some(cache) = &self.inner.cache {
            cache.keep(&id, &compiled);
        }
        Ok(loaded)
    }

    /// Links a compiled component and says what it offers and asks for.
    fn describe(&self, id: ComponentId, component: &Component) -> Result<Loaded, LoadError> {
        let engine = &self.inner.engine;
        let imports = imports(engine, component);
        let mut found = Found::default();
        found.collect(engine, component);
        if found.functions.is_empty() {
            return Err(LoadError::NothingCallable { left_out: found.left_out });
        }
        let ready = if imports.iter().all(|i| i.provided) {
            let linked = self.inner.linker.instantiate_pre(component);
            Some(linked.map_err(|e| LoadError::Unlinkable { reason: chain(&e) })?)
        } else {
            None
        };
        let Found { functions, left_out, exports } = found;
        Ok(Loaded { id, functions, left_out, imports, exports, ready })
    }
}

fn within_size(component: &[u8]) -> Result<(), LoadError> {
    if component.len() > MAX_COMPONENT_BYTES {
        return Err(LoadError::TooLarge { actual: component.len(), limit: MAX_COMPONENT_BYTES });
    }
    Ok(())
}

/// Tells what is not even the beginning of a whole component.
fn recognise(bytes: &[u8]) -> Result<(), LoadError> {
    const MAGIC: &[u8] = b"\0asm";
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
        let text = matches!(first, Some(b'(' | b';')) && str::from_utf8(bytes).is_ok();
        return Err(if text { LoadError::Text } else { LoadError::NotWasm });
    };
    match rest {
        [1, 0, 0, 0, ..] => return Err(LoadError::CoreModule),
        [_, _, _, _, ..] => {}
        _ => return Err(LoadError::Truncated { at: 0 }),
    }
    // Sections: an id, a length in LEB128, that many bytes.
    let mut at = 8;
    while at < bytes.len() {
        let body = bytes.get(at + 1..).and_then(leb128).map(|(len, used)| at + 1 + used + len);
        match body {
            Some(end) if end <= bytes.len() => at = end,
            _ => return Err(LoadError::Truncated { at }),
        }
    }
    Ok(())
}

/// An unsigned LEB128 of at most 32 bits, and the bytes it took.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

fn imports(engine: &Engine, component: &Component) -> Vec<Import> {
    let ty = component.component_type();
    let import = |name: &str, item: &ComponentItem| {
        let (permission, provided) = match (item, world::source(name)) {
            (ComponentItem::ComponentInstance(_), Source::Virtual) => (None, true),
            (ComponentItem::ComponentInstance(_), Source::Granted(permission)) => (Some(permission), true),
            (ComponentItem::ComponentInstance(instance), Source::Nowhere(permission)) => {
                let types = instance.exports(engine).all(|(_, e)| matches!(e.ty, ComponentItem::Type(_)));
                (permission.filter(|_| !types), types)
            }
            _ => (None, false),
        };
        Import { name: name.to_owned(), permission, provided }
    };
    ty.imports(engine).map(|(name, item)| import(name, &item.ty)).collect()
}

/// The functions of a component, callable and not.
#[derive(Default)]
struct Found {
    functions: Vec<Function>,
    left_out: Vec<LeftOut>,
    exports: HashMap<FunctionName, Export>,
}

impl Found {
    fn collect(&mut self, engine: &Engine, component: &Component) {
        let ty = component.component_type();
        for (name, item) in ty.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(func) => {
                    let index = component.get_export_index(None, name);
                    self.take(None, name, &func, index);
                }
                ComponentItem::ComponentInstance(instance) => {
                    let outer = component.get_export_index(None, name);
                    for (inner, item) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(func) = item.ty {
                            let index =
                                outer.as_ref().and_then(|o| component.get_export_index(Some(o), inner));
                            self.take(Some(name), inner, &func, index);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn take(
        &mut self,
        interface: Option<&str>,
        name: &str,
        func: &ComponentFunc,
        index: Option<ComponentExportIndex>,
    ) {
        if let Err(reason) = self.offer(interface, name, func, index) {
            let name = interface.map_or_else(|| name.to_owned(), |i| format!("{i}#{name}"));
            self.left_out.push(LeftOut { name, reason });
        }
    }

    fn offer(
        &mut self,
        interface: Option<&str>,
        name: &str,
        func: &ComponentFunc,
        index: Option<ComponentExportIndex>,
    ) -> Result<(), String> {
        let index = index.ok_or("it cannot be looked up")?;
        let full = FunctionName::new(interface, name).map_err(|e| e.to_string())?;
        if func.async_() {
            return Err("it is async".to_owned());
        }
        if command::is_run(interface, name) {
            return self.add(command::signature(full), index, Way::Command);
        }
        let mut budget = Budget::default();
        let mut params = Vec::new();
        for (name, ty) in func.params() {
            params.push(Param { name: name.to_owned(), ty: convert::wit_type(&ty, &mut budget)? });
        }
        let mut results = func.results();
        let result = results.next().map(|ty| convert::wit_type(&ty, &mut budget)).transpose()?;
        if results.next().is_some() {
            return Err("it gives several results".to_owned());
        }
        let way = Way::Typed(fast::pick(&params, result.as_ref()));
        self.add(Function { name: full, docs: String::new(), params, result }, index, way)
    }

    fn add(&mut self, function: Function, index: ComponentExportIndex, way: Way) -> Result<(), String> {
        self.exports.insert(function.name.clone(), Export { index, function: self.functions.len(), way });
        self.functions.push(function);
        Ok(())
    }
}

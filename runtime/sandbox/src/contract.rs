//! Contracts: the WIT package an author declares, doc comments included, which a finished component has lost.
//!
//! A contract says which of a component's exports are offered. It travels in the release in its binary form, so that a
//! reader can show the docs and check for themselves that the offered functions follow from it.

use crate::command;
use crate::convert::Budget;
use crate::load::{LeftOut, Loaded};
use actum_model::types::{Case, Field, ResultType};
use actum_model::{Function, FunctionName, Param, WitType};
use std::path::Path;
use wit_component::DecodedWasm;
use wit_parser::{InterfaceId, PackageId, Resolve, Type, TypeDefKind, WorldItem};

/// A declared interface: the functions offered, and the package that declares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// The functions, with their doc comments, in the order of their declaration.
    pub functions: Vec<Function>,
    /// The functions declared that cannot be offered, with the reason.
    pub left_out: Vec<LeftOut>,
    /// The interfaces declared, by their full names.
    pub interfaces: Vec<String>,
    /// The package in its binary form.
    pub wit: Vec<u8>,
}

/// Why a contract could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// Not a WIT package, as text or as binary: what the parser said, with the place.
    #[error("not a WIT package: {0}")]
    Malformed(String),
    /// Declares no world of that name, or several worlds and none was named.
    #[error("{0}")]
    World(String),
    /// Declares no function that can be offered.
    #[error("the contract offers no function{}", left_out.first().map(|f| format!("; {f}")).unwrap_or_default())]
    Empty {
        /// The functions it does declare, each with the reason it is not offered.
        left_out: Vec<LeftOut>,
    },
}

/// Where a contract and a component differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("function {function}: the contract says {contract}, the component {component}")]
pub struct Disagreement {
    /// The function.
    pub function: FunctionName,
    /// Its signature in the contract.
    pub contract: String,
    /// Its signature in the component, or `nothing`.
    pub component: String,
}

impl Contract {
    /// Reads WIT source: a file, or a directory with its `deps`.
    ///
    /// Offered are the exports of `world`; of the package's only world when none is named; or, in a package without
    /// worlds, the functions of all its interfaces.
    ///
    /// # Errors
    /// [`ContractError`].
    pub fn from_path(path: &Path, world: Option<&str>) -> Result<Self, ContractError> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(path).map_err(malformed)?;
        Self::new(&resolve, package, world)
    }

    /// Reads WIT source text of one package without dependencies. `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`ContractError`].
    pub fn from_text(name: &str, text: &str, world: Option<&str>) -> Result<Self, ContractError> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str(name, text).map_err(malformed)?;
        Self::new(&resolve, package, world)
    }

    /// Reads a binary WIT package, as a release carries it.
    ///
    /// # Errors
    /// [`ContractError`].
    pub fn from_binary(wit: &[u8], world: Option<&str>) -> Result<Self, ContractError> {
        match wit_component::decode(wit).map_err(malformed)? {
            DecodedWasm::WitPackage(resolve, package) => Self::new(&resolve, package, world),
            DecodedWasm::Component(..) => {
                Err(ContractError::Malformed("a component, not a WIT package".to_owned()))
            }
        }
    }

    /// Reads the contract a component itself exports: all of it, without docs.
    ///
    /// # Errors
    /// [`ContractError`].
    pub fn from_component(component: &[u8]) -> Result<Self, ContractError> {
        match wit_component::decode(component).map_err(malformed)? {
            DecodedWasm::Component(resolve, world) => {
                let package = resolve.worlds.get(world).and_then(|w| w.package);
                let package =
                    package.ok_or_else(|| ContractError::World("the component has no world".to_owned()))?;
                Self::new(&resolve, package, None)
            }
            DecodedWasm::WitPackage(..) => {
                Err(ContractError::Malformed("a WIT package, not a component".to_owned()))
            }
        }
    }

    /// Whether a component exports every function of the contract, with the very same types and parameter names.
    ///
    /// # Errors
    /// [`Disagreement`], for the first function that differs.
    pub fn agrees_with(&self, loaded: &Loaded) -> Result<(), Disagreement> {
        for declared in &self.functions {
            let exported = loaded.function(&declared.name);
            let same = exported.is_some_and(|e| e.params == declared.params && e.result == declared.result);
            if !same {
                return Err(Disagreement {
                    function: declared.name.clone(),
                    contract: declared.to_string(),
                    component: exported.map_or_else(|| "nothing".to_owned(), ToString::to_string),
                });
            }
        }
        Ok(())
    }

    fn new(resolve: &Resolve, package: PackageId, world: Option<&str>) -> Result<Self, ContractError> {
        let mut reader = Reader { resolve, contract: Self::empty() };
        let declared = resolve.packages.get(package);
        let has_world = declared.is_some_and(|p| !p.worlds.is_empty());
        if world.is_some() || has_world {
            let world = resolve
                .select_world(&[package], world)
                .map_err(|e| ContractError::World(format!("{e:#}")))?;
            reader.world(world);
        } else {
            for (_, interface) in declared.iter().flat_map(|p| &p.interfaces) {
                reader.interface(resolve.id_of(*interface).as_deref(), *interface);
            }
        }
        let mut contract = reader.contract;
        if contract.functions.is_empty() {
            return Err(ContractError::Empty { left_out: contract.left_out });
        }
        contract.wit = wit_component::encode(resolve, package).map_err(malformed)?;
        Ok(contract)
    }

    fn empty() -> Self {
        Self { functions: Vec::new(), left_out: Vec::new(), interfaces: Vec::new(), wit: Vec::new() }
    }
}

/// An error of the WIT tools, with its whole chain.
fn malformed(error: impl std::fmt::Display) -> ContractError {
    ContractError::Malformed(format!("{error:#}"))
}

/// Collects the functions of a package.
struct Reader<'a> {
    resolve: &'a Resolve,
    contract: Contract,
}

impl Reader<'_> {
    fn world(&mut self, world: wit_parser::WorldId) {
        let resolve = self.resolve;
        for (key, item) in resolve.worlds.get(world).iter().flat_map(|w| &w.exports) {
            match item {
                WorldItem::Interface { id, .. } => {
                    self.interface(Some(&resolve.name_world_key(key)), *id);
                }
                WorldItem::Function(function) => self.function(None, function),
                WorldItem::Type { .. } => {}
            }
        }
    }

    fn interface(&mut self, name: Option<&str>, id: InterfaceId) {
        self.contract.interfaces.extend(name.map(str::to_owned));
        for (_, function) in self.resolve.interfaces.get(id).iter().flat_map(|i| &i.functions) {
            self.function(name, function);
        }
    }

    fn function(&mut self, interface: Option<&str>, function: &wit_parser::Function) {
        match self.offer(interface, function) {
            Ok(offered) => self.contract.functions.push(offered),
            Err(reason) => {
                let name = match interface {
                    Some(i) => format!("{i}#{}", function.name),
                    None => function.name.clone(),
                };
                self.contract.left_out.push(LeftOut { name, reason });
            }
        }
    }

    fn offer(&self, interface: Option<&str>, function: &wit_parser::Function) -> Result<Function, String> {
        let name = FunctionName::new(interface, &function.name).map_err(|e| e.to_string())?;
        let docs = function.docs.contents.as_deref().unwrap_or_default().replace("\r\n", "\n");
        if function.kind.is_async() {
            return Err("it is async".to_owned());
        }
        if command::is_run(interface, &function.name) {
            return Ok(Function { docs, ..command::signature(name) });
        }
        let mut budget = Budget::default();
        let mut params = Vec::new();
        for p in &function.params {
            params.push(Param { name: p.name.clone(), ty: self.ty(&p.ty, &mut budget)? });
        }
        let result = function.result.as_ref().map(|t| self.ty(t, &mut budget)).transpose()?;
        Ok(Function { name, docs, params, result })
    }

    fn boxed(&self, ty: &Type, budget: &mut Budget) -> Result<Box<WitType>, String> {
        Ok(Box::new(self.ty(ty, budget)?))
    }

    fn maybe(&self, ty: Option<&Type>, budget: &mut Budget) -> Result<Option<Box<WitType>>, String> {
        ty.map(|t| self.boxed(t, budget)).transpose()
    }

    fn ty(&self, ty: &Type, budget: &mut Budget) -> Result<WitType, String> {
        budget.enter()?;
        let found = match ty {
            Type::Bool => WitType::Bool,
            Type::S8 => WitType::S8,
            Type::U8 => WitType::U8,
            Type::S16 => WitType::S16,
            Type::U16 => WitType::U16,
            Type::S32 => WitType::S32,
            Type::U32 => WitType::U32,
            Type::S64 => WitType::S64,
            Type::U64 => WitType::U64,
            Type::F32 => WitType::F32,
            Type::F64 => WitType::F64,
            Type::Char => WitType::Char,
            Type::String => WitType::String,
            Type::ErrorContext => return Err("it uses an error-context".to_owned()),
            Type::Id(id) => {
                let definition = self.resolve.types.get(*id).ok_or("it uses an undefined type")?;
                self.defined(&definition.kind, budget)?
            }
        };
        budget.leave();
        Ok(found)
    }

    fn defined(&self, kind: &TypeDefKind, budget: &mut Budget) -> Result<WitType, String> {
        Ok(match kind {
            TypeDefKind::Type(t) => self.ty(t, budget)?,
            TypeDefKind::List(t) => WitType::List(self.boxed(t, budget)?),
            TypeDefKind::Option(t) => WitType::Option(self.boxed(t, budget)?),
            TypeDefKind::Record(record) => {
                let mut fields = Vec::new();
                for f in &record.fields {
                    fields.push(Field { name: f.name.clone(), ty: self.ty(&f.ty, budget)? });
                }
                WitType::Record(fields)
            }
            TypeDefKind::Tuple(tuple) => {
                let mut types = Vec::new();
                for t in &tuple.types {
                    types.push(self.ty(t, budget)?);
                }
                WitType::Tuple(types)
            }
            TypeDefKind::Variant(variant) => {
                let mut cases = Vec::new();
                for c in &variant.cases {
                    let ty = c.ty.as_ref().map(|t| self.ty(t, budget)).transpose()?;
                    cases.push(Case { name: c.name.clone(), ty });
                }
                WitType::Variant(cases)
            }
            TypeDefKind::Enum(e) => WitType::Enum(e.cases.iter().map(|c| c.name.clone()).collect()),
            TypeDefKind::Flags(f) if f.flags.len() > 32 => {
                return Err("it uses flags of more than 32 names".to_owned());
            }
            TypeDefKind::Flags(f) => WitType::Flags(f.flags.iter().map(|f| f.name.clone()).collect()),
            TypeDefKind::Result(r) => WitType::Result(ResultType {
                ok: self.maybe(r.ok.as_ref(), budget)?,
                err: self.maybe(r.err.as_ref(), budget)?,
            }),
            TypeDefKind::Resource | TypeDefKind::Handle(_) => return Err("it uses a resource".to_owned()),
            TypeDefKind::Future(_) => return Err("it uses a future".to_owned()),
            TypeDefKind::Stream(_) => return Err("it uses a stream".to_owned()),
            TypeDefKind::Map(..) => return Err("it uses a map".to_owned()),
            TypeDefKind::FixedLengthList(..) => return Err("it uses a list of fixed length".to_owned()),
            TypeDefKind::Unknown => return Err("it uses an undefined type".to_owned()),
        })
    }
}

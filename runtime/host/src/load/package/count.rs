//! Counts what a plugin's file would cost the compiler, before anything of it is validated or
//! compiled.
//!
//! The size of a file says little. A compiler writes a component's instantiations out in one list,
//! so that a component of a kilobyte that instantiates its child twice, as that one does with its
//! own, ends as millions of them. The time for a function grows faster than its size. And a reader
//! of component types calls itself for each level of them.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Encoding,
    Instance, Parser, Payload,
};

use crate::error::LoadProblem;
use crate::guest::{GuestLimits, TABLE_ELEMENTS_MAX};

/// Levels of components in one another.
const LEVELS_MAX: u64 = 16;
/// Core modules.
const MODULES_MAX: u64 = 256;
/// Components in the file.
const COMPONENTS_MAX: u64 = 256;
/// Instantiations, each counted with those that it leads to.
const INSTANTIATIONS_MAX: u64 = 1_000;
/// Imports, exports, aliases, arguments and the like of components, counted likewise.
const ITEMS_MAX: u64 = 200_000;
/// Levels of component types in one another, or what looks like them.
const TYPE_LEVELS_MAX: u64 = 200;
/// Bytes of types of components.
const TYPE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one function.
const FUNCTION_BYTES_MAX: u64 = 1 << 20;
/// Locals of all functions.
const LOCALS_MAX: u64 = 8_000_000;
/// Types, imports, exports, globals and segments of all modules.
const ENTRIES_MAX: u64 = 500_000;
/// Bytes of one name of an import or export.
const NAME_BYTES_MAX: u64 = 4_096;

/// The counts of a file.
#[derive(Debug, Default)]
struct Counts {
    levels: u64,
    modules: u64,
    components: u64,
    whole: Cost,
    type_levels: u64,
    type_bytes: u64,
    functions: u64,
    function_bytes: u64,
    locals: u64,
    entries: u64,
    name_bytes: u64,
    memory_bytes: u64,
    table_elements: u64,
}

/// The cost of instantiating a component.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    instantiations: u64,
    items: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.instantiations = self.instantiations.saturating_add(other.instantiations);
        self.items = self.items.saturating_add(other.items);
    }

    fn items(items: usize) -> Self {
        Self { instantiations: 0, items: items as u64 }
    }

    fn instantiation(arguments: usize) -> Self {
        Self { instantiations: 1, items: arguments as u64 }
    }
}

/// A component or module that is being read.
struct Level {
    encoding: Encoding,
    cost: Cost,
    /// The components that it can name, by index.
    components: Vec<Cost>,
}

/// Checks the counts of a file.
///
/// # Errors
/// [`LoadProblem::TooMuch`], [`LoadProblem::PassesComponents`], [`LoadProblem::NotWasm`].
pub(super) fn check(bytes: &[u8], limits: &GuestLimits) -> Result<(), LoadProblem> {
    let mut counts = Counts::default();
    counts.file(bytes, false)?;
    counts.check(limits)
}

impl Counts {
    fn file(&mut self, bytes: &[u8], is_description: bool) -> Result<(), LoadProblem> {
        let mut levels: Vec<Level> = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(not_wasm)? {
                Payload::Version { encoding, .. } => {
                    levels.push(Level { encoding, cost: Cost::default(), components: Vec::new() });
                    self.levels = self.levels.max(levels.len() as u64);
                    match encoding {
                        Encoding::Component => self.components += 1,
                        Encoding::Module => self.modules += 1,
                    }
                }
                Payload::End(_) => {
                    let Some(ended) = levels.pop() else { return Ok(()) };
                    match levels.last_mut() {
                        Some(around) if ended.encoding == Encoding::Component => around.components.push(ended.cost),
                        Some(_) => {}
                        None => self.whole = ended.cost,
                    }
                }
                // The description of a core module's world is a file of its own: a component of
                // types.
                Payload::CustomSection(section) if section.name().starts_with("component-type") && !is_description => {
                    self.file(section.data(), true)?;
                }
                payload => match levels.last().map(|level| level.encoding) {
                    Some(Encoding::Component) => self.component_section(&payload, bytes, &mut levels)?,
                    _ => self.module_section(payload)?,
                },
            }
        }
        Ok(())
    }

    fn component_section(
        &mut self,
        payload: &Payload<'_>,
        bytes: &[u8],
        levels: &mut [Level],
    ) -> Result<(), LoadProblem> {
        let mut cost = Cost::default();
        match payload {
            Payload::ComponentTypeSection(section) => self.types(bytes.get(section.range()).unwrap_or_default()),
            Payload::CoreTypeSection(section) => self.entries += u64::from(section.count()),
            Payload::ComponentCanonicalSection(section) => cost.items += u64::from(section.count()),
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    cost.items += 1;
                    match alias.map_err(not_wasm)? {
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            name_outer(levels, count, index)?;
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                            return Err(LoadProblem::PassesComponents);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import.map_err(not_wasm)?;
                    cost.items += 1;
                    self.name(import.name.name);
                    if matches!(import.ty, ComponentTypeRef::Component(_)) {
                        return Err(LoadProblem::PassesComponents);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(not_wasm)?;
                    cost.items += 1;
                    self.name(export.name.name);
                    if export.kind == ComponentExternalKind::Component {
                        return Err(LoadProblem::PassesComponents);
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    cost.add(match instance.map_err(not_wasm)? {
                        Instance::Instantiate { args, .. } => Cost::instantiation(args.len()),
                        Instance::FromExports(exports) => Cost::items(exports.len()),
                    });
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    match instance.map_err(not_wasm)? {
                        ComponentInstance::Instantiate { component_index, args } => {
                            cost.add(child(levels, component_index)?);
                            cost.add(Cost::instantiation(args.len()));
                        }
                        ComponentInstance::FromExports(exports) => cost.add(Cost::items(exports.len())),
                    }
                }
            }
            _ => {}
        }
        if let Some(level) = levels.last_mut() {
            level.cost.add(cost);
        }
        Ok(())
    }

    /// Counts types of components without reading them. One in another stands behind the byte that
    /// says that a type follows.
    fn types(&mut self, section: &[u8]) {
        self.type_bytes = self.type_bytes.saturating_add(section.len() as u64);
        let inner = section.windows(2).filter(|pair| matches!(pair, [0x01, 0x41 | 0x42])).count();
        self.type_levels = self.type_levels.max(inner as u64);
    }

    fn module_section(&mut self, payload: Payload<'_>) -> Result<(), LoadProblem> {
        match payload {
            Payload::TypeSection(section) => self.entries += u64::from(section.count()),
            Payload::GlobalSection(section) => self.entries += u64::from(section.count()),
            Payload::ElementSection(section) => self.entries += u64::from(section.count()),
            Payload::DataSection(section) => self.entries += u64::from(section.count()),
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(not_wasm)?;
                    self.entries += 1;
                    self.name(import.module);
                    self.name(import.name);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.entries += 1;
                    self.name(export.map_err(not_wasm)?.name);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory.map_err(not_wasm)?;
                    let bytes = memory.initial.saturating_mul(1 << memory.page_size_log2.unwrap_or(16).min(16));
                    self.memory_bytes = self.memory_bytes.saturating_add(bytes);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let elements = table.map_err(not_wasm)?.ty.initial;
                    self.table_elements = self.table_elements.saturating_add(elements);
                }
            }
            Payload::CodeSectionStart { count, .. } => self.functions += u64::from(count),
            Payload::CodeSectionEntry(body) => {
                self.function_bytes = self.function_bytes.max(body.range().len() as u64);
                for local in body.get_locals_reader().map_err(not_wasm)? {
                    self.locals += u64::from(local.map_err(not_wasm)?.0);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn name(&mut self, name: &str) {
        self.name_bytes = self.name_bytes.max(name.len() as u64);
    }

    fn check(&self, limits: &GuestLimits) -> Result<(), LoadProblem> {
        const STATE: &str = "this is more than any plugin needs";
        let limit = |limit: usize| limit as u64;
        for (what, found, max, advice) in [
            ("functions", self.functions, limit(limits.functions_max), "raise functions_max if that is right"),
            (
                "bytes of memory from the start",
                self.memory_bytes,
                limit(limits.memory_bytes_max),
                "raise memory_mib_max if that is right",
            ),
            (
                "bytes in one function",
                self.function_bytes,
                FUNCTION_BYTES_MAX,
                "split it, or build with optimisation for size",
            ),
            ("locals", self.locals, LOCALS_MAX, "build with optimisation"),
            ("table elements from the start", self.table_elements, limit(TABLE_ELEMENTS_MAX), STATE),
            ("types, imports, exports, globals and segments in its modules", self.entries, ENTRIES_MAX, STATE),
            ("bytes in the name of one import or export", self.name_bytes, NAME_BYTES_MAX, STATE),
            ("core modules", self.modules, MODULES_MAX, STATE),
            ("components", self.components, COMPONENTS_MAX, STATE),
            ("levels of components", self.levels, LEVELS_MAX, STATE),
            (
                "instantiations, each counted with those that it leads to",
                self.whole.instantiations,
                INSTANTIATIONS_MAX,
                STATE,
            ),
            ("items in its components, counted in each instantiation", self.whole.items, ITEMS_MAX, STATE),
            ("levels of types of components", self.type_levels, TYPE_LEVELS_MAX, STATE),
            ("bytes in types of components", self.type_bytes, TYPE_BYTES_MAX, STATE),
        ] {
            if found > max {
                return Err(LoadProblem::TooMuch { what, found, max, advice });
            }
        }
        Ok(())
    }
}

/// Adds one of the components around the innermost one to those that it can name.
fn name_outer(levels: &mut [Level], count: u32, index: u32) -> Result<(), LoadProblem> {
    let at = levels.len().checked_sub(1 + count as usize);
    let outer = at.and_then(|at| levels.get(at)).and_then(|level| level.components.get(index as usize)).copied();
    match (outer, levels.last_mut()) {
        (Some(outer), Some(level)) => level.components.push(outer),
        _ => return Err(unknown_component(index)),
    }
    Ok(())
}

fn child(levels: &[Level], index: u32) -> Result<Cost, LoadProblem> {
    let components = levels.last().map(|level| level.components.as_slice()).unwrap_or_default();
    components.get(index as usize).copied().ok_or_else(|| unknown_component(index))
}

fn unknown_component(index: u32) -> LoadProblem {
    LoadProblem::NotWasm(format!("component {index} does not exist where it is named"))
}

fn not_wasm(error: wasmparser::BinaryReaderError) -> LoadProblem {
    LoadProblem::NotWasm(error.to_string())
}

//! From a core module to a component, which is all that the engine runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::api::Interface;
use crate::error::LoadProblem;

/// Makes a core module a component. A module without a description of its world (hand-written,
/// AssemblyScript, Zig) is assumed to have the interface's.
pub(crate) fn componentise(module: &[u8]) -> Result<Vec<u8>, LoadProblem> {
    // The encoder expects the output of compilers. Other metadata must not end this process.
    let encoded = catch_unwind(AssertUnwindSafe(|| component_of(module, None)));
    let encoded = encoded.unwrap_or_else(|_| Err("its description of its world cannot be read".into()));
    encoded.map_err(LoadProblem::NotAComponent)
}

/// Returns the version of the interface that a core module's exports name; the oldest one if they
/// name none, which is refused later.
fn interface_of(module: &[u8]) -> Interface {
    let sections = Parser::new(0).parse_all(module).filter_map(|payload| match payload {
        Ok(Payload::ExportSection(section)) => Some(section),
        _ => None,
    });
    let exports = sections.flat_map(|section| section.into_iter().flatten()).map(|export| export.name);
    Interface::newest_in(exports).map_or(Interface::V0_1, |(interface, _)| interface)
}

/// Makes a core module a component. The adapter provides the imports of its name, inside the
/// component.
///
/// # Errors
/// The encoder's message.
pub fn component_of(module: &[u8], adapter: Option<(&str, &[u8])>) -> Result<Vec<u8>, String> {
    let describes_itself = Parser::new(0).parse_all(module).any(
        |payload| matches!(payload, Ok(Payload::CustomSection(section)) if section.name().starts_with("component-type")),
    );
    let mut module = module.to_vec();
    if !describes_itself {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", interface_of(&module).wit()).map_err(|e| format!("{e:#}"))?;
        let world = resolve.select_world(&[package], Some("plugin")).map_err(|e| format!("{e:#}"))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|e| format!("{e:#}"))?;
    }
    let mut encoder = ComponentEncoder::default().module(&module).map_err(|e| format!("{e:#}"))?;
    if let Some((name, adapter)) = adapter {
        encoder = encoder.adapter(name, adapter).map_err(|e| format!("{e:#}"))?;
    }
    encoder.validate(true).encode().map_err(|e| format!("{e:#}"))
}

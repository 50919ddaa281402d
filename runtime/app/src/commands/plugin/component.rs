//! Makes a component of Go's output: a core module that imports WASI preview 1. A stub in its place inside of the component
//! leaves nothing of WASI to import, so that a Go plugin needs no grant.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::embedded;

const STUB: &str = include_str!("wasip1.wat");

/// The component of a module that speaks `strait:plugin@0.1.0` and wants a system.
///
/// # Errors
/// What the encoder says.
pub fn with_stub(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut module = module.to_vec();
    let mut resolve = Resolve::default();
    let text = embedded::file("wit/v0.1/plugin.wit");
    let package = resolve.push_str("plugin.wit", text).map_err(|e| format!("{e:#}"))?;
    let world = resolve.select_world(&[package], Some("plugin")).map_err(|e| format!("{e:#}"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|e| format!("{e:#}"))?;
    let stub = wat::parse_str(STUB).map_err(|e| e.to_string())?;
    let encoder = ComponentEncoder::default().module(&module).map_err(|e| format!("{e:#}"))?;
    let encoder = encoder.adapter("wasi_snapshot_preview1", &stub).map_err(|e| format!("{e:#}"))?;
    encoder.validate(true).encode().map_err(|e| format!("{e:#}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_stub_is_a_module() {
        wat::parse_str(super::STUB).unwrap();
    }
}

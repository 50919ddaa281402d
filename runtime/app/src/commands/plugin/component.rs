//! Makes a component of Go's output: a core module that imports WASI preview 1. A stub in its place inside of the component
//! leaves nothing of WASI to import, so that a Go plugin needs no grant.

const STUB: &str = include_str!("wasip1.wat");

/// The component of a module that speaks `strait:plugin@0.1.0` and wants a system.
///
/// # Errors
/// What the encoder says.
pub fn with_stub(module: &[u8]) -> Result<Vec<u8>, String> {
    let stub = wat::parse_str(STUB).map_err(|e| e.to_string())?;
    strait_host::component_of(module, Some(("wasi_snapshot_preview1", &stub)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_stub_is_a_module() {
        wat::parse_str(super::STUB).unwrap();
    }
}

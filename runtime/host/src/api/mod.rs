//! Bindings of the plugin interface, one module per supported WIT version.

pub(crate) mod effects;

/// `strait:plugin@0.1`.
#[allow(missing_docs, clippy::all, clippy::restriction, clippy::pedantic, reason = "generated from the WIT")]
pub mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// The text of `strait:plugin@0.1`, for core modules without a description of their world.
pub(crate) const WIT_V0_1: &str = include_str!("../../../../wit/v0.1/plugin.wit");

/// Supported versions, for messages.
pub(crate) const SPOKEN: &str = "0.1";

/// Returns whether this host supports a version of `strait:plugin`, by its full number.
pub(crate) fn speaks(version: &str) -> bool {
    version.strip_prefix("0.1.").is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
}

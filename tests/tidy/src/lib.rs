//! Rules that hold the repository to what its documents say of it.
//!
//! Each rule reads a [`Tree`], a copy of the repository in memory, and returns its [`Finding`]s.
//! `tests/repository.rs` runs every rule on the repository; `tests/rules.rs` breaks each rule on
//! purpose and expects it to be found.
//!
//! What rustc, clippy and cargo can hold stands in the manifests and in `clippy.toml`. The rules
//! here hold the rest, and that no crate leaves those lints out.

pub mod rules;

mod modules;
mod options;
mod tree;

pub use options::{FILE as OPTIONS_FILE, generate as generate_options};
pub use tree::{Finding, Tree};

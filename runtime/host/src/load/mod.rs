//! Loading: from a plugin's file and configuration to a plugin that can be started.

mod bundled;
mod counters;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    pub use super::package::fuzz::package;
    pub use super::schema::fuzz::schema;
}
mod framing;
mod identity;
mod inspect;
mod loaded;
mod manifest;
mod package;
mod schema;
mod set;
mod spec;
mod trust;

pub use bundled::bundled_names;
pub(crate) use counters::Counter;
pub(crate) use framing::FramedParts;
pub use identity::generation_of;
pub use inspect::{PluginInfo, inspect};
pub(crate) use loaded::{LoadedPlugin, Shapes, StartError};
pub use manifest::Manifest;
pub use package::PackageKind;
pub(crate) use set::PluginSet;
pub use spec::{ChainSpec, LinkInfo, PluginSource, PluginSpec, TopicNaming};
pub use trust::{OtherSigners, PrivateKey, PublicKey, Trust, Vouched, signature_path, verify_file};

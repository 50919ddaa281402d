//! Configuration: the model, everything that can be wrong with it, and what a change of it means.
//!
//! The loader (in the app) reads files and the environment into one tree. [`structure::read`] makes the model of the tree,
//! [`resolve()`] fills in `${env:…}` and `${file:…}`, [`validate()`] judges the whole. Each reports every problem it finds.

pub mod admin;
pub mod diff;
mod limits;
mod model;
mod path;
pub mod pin;
mod problem;
pub mod reference;
pub mod refused;
mod reload;
mod routes;
pub mod secrets;
mod selector;
mod setting;
pub mod structure;
mod validate;

pub use admin::AdminListen;
pub use diff::{Change, diff};
pub use limits::PluginLimits;
pub use model::{
    Admin, Cluster, Config, Delivery, LANES_DEFAULT, Link, Log, LogFormat, Naming, OnError, OnGap, OnRefused,
    OnTimestampZero, PluginUse, Start,
};
pub use path::{Path, Step};
pub use problem::{Gravity, Part, Problem, What, nearest};
pub use reload::{Reload, ReloadMode};
pub use selector::Selector;
pub use setting::{HIDDEN, KafkaProperties, PluginConfig, Setting};
pub use validate::{BUNDLED_PLUGINS, resolve, validate};

#[cfg(test)]
mod tests;

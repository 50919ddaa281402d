//! Configuration: the model, its validation, and the effect of a change.
//!
//! The loader (in the app) reads files and the environment into one tree. [`structure::read`]
//! builds the model from that tree, [`resolve()`] substitutes `${env:…}` and `${file:…}`, and
//! [`validate()`] checks the whole. Each step reports every problem it finds.

pub mod addresses;
pub mod admin;
mod auth;
pub mod diff;
mod framing;
mod groups;
pub mod java;
mod limits;
mod mm2;
mod model;
mod naming;
mod path;
mod pattern;
pub mod pin;
mod plugin_use;
mod problem;
pub mod reference;
pub mod refused;
mod reload;
mod routes;
pub mod secrets;
mod selector;
mod setting;
mod start;
pub mod structure;
mod sync;
mod transport;
mod validate;

pub use admin::AdminListen;
pub use auth::{Auth, AuthKind};
pub use diff::{Change, diff};
pub use framing::{Frame, FramedPart, Framing};
pub use groups::{GROUPS_EXCLUDED, GroupSelector};
pub use limits::PluginLimits;
pub use mm2::{Heartbeats, Mm2, OffsetSyncs};
pub use model::{
    Admin, Cluster, Config, DeliveryMode, LANES_DEFAULT, Link, Log, LogFormat, OnCorrupt, OnGap, OnRefused,
    OnTimestampZero,
};
pub use naming::{Around, Naming, Template};
pub use path::{Path, Step};
pub use plugin_use::{OnError, PluginUse};
pub use problem::{Gravity, Part, Problem, What, nearest};
pub use reload::{Reload, ReloadMode};
pub use selector::{Selector, name_of_entry};
pub use setting::{HIDDEN, KafkaProperties, PluginConfig, Setting};
pub use start::Start;
pub use sync::{OnDeleted, OnTargetRecreated, Replication, Sync, SyncConfigs};
pub use validate::{resolve, validate};

#[cfg(test)]
mod tests;

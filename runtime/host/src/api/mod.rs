//! Bindings of the plugin interface, one module per supported WIT version.

pub(crate) mod effects;
pub(crate) mod options;

/// `strait:plugin@0.1`.
#[allow(missing_docs, clippy::all, clippy::restriction, clippy::pedantic, reason = "generated from the WIT")]
pub mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// `strait:plugin@0.2`.
#[allow(missing_docs, clippy::all, clippy::restriction, clippy::pedantic, reason = "generated from the WIT")]
pub mod v0_2 {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.2",
        world: "plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Supported versions, for messages.
pub(crate) const SPOKEN: &str = "0.1 and 0.2";

/// A version of `strait:plugin` that this host supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    V0_1,
    V0_2,
}

impl Interface {
    /// All of them, oldest first.
    pub(crate) const ALL: [Self; 2] = [Self::V0_1, Self::V0_2];

    /// Returns the version with this full number, if the host supports it.
    pub(crate) fn of(version: &str) -> Option<Self> {
        let is_patch = |patch: &str| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit());
        Self::ALL.into_iter().find(|interface| {
            let patch = version.strip_prefix(interface.minor()).and_then(|rest| rest.strip_prefix('.'));
            patch.is_some_and(is_patch)
        })
    }

    /// Returns its text, for core modules without a description of their world.
    pub(crate) fn wit(self) -> &'static str {
        match self {
            Self::V0_1 => include_str!("../../../../wit/v0.1/plugin.wit"),
            Self::V0_2 => include_str!("../../../../wit/v0.2/plugin.wit"),
        }
    }

    /// Returns its full number, as the package of the interface has it.
    pub(crate) fn full(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.0",
            Self::V0_2 => "0.2.0",
        }
    }

    fn minor(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        }
    }
}

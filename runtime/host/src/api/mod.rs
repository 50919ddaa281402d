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

/// The name of the interface that plugins export, up to its version.
pub(crate) const TRANSFORM: &str = "strait:plugin/transform@";

/// Returns the version in the name of an export. A core module exports functions:
/// `strait:plugin/transform@0.1.0#process`.
pub(crate) fn version_in(export: &str) -> Option<&str> {
    export.strip_prefix(TRANSFORM)?.split('#').next()
}

/// A version of `strait:plugin` that this host supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Returns the newest version that is known among those that exports name, and its full number.
    pub(crate) fn newest_in<'a>(exports: impl IntoIterator<Item = &'a str>) -> Option<(Self, &'a str)> {
        let versions = exports.into_iter().filter_map(version_in);
        versions.filter_map(|version| Some((Self::of(version)?, version))).max()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_known_version_counts_whatever_the_order_of_the_exports() {
        let newest = |exports: &[&'static str]| Interface::newest_in(exports.iter().copied());
        let (old, new) = ("strait:plugin/transform@0.1.0#process", "strait:plugin/transform@0.2.1");
        let unknown = "strait:plugin/transform@0.3.0";
        for exports in [[old, new, unknown], [unknown, new, old]] {
            assert_eq!(newest(&exports), Some((Interface::V0_2, "0.2.1")));
        }
        assert_eq!(newest(&["memory", old]), Some((Interface::V0_1, "0.1.0")));
        assert_eq!(newest(&[unknown, "strait:plugin/transform@0.2.x"]), None);
    }
}

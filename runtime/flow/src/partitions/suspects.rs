//! Records that may be the ones which the target refused.

use strait_core::SourceOffset;

/// Records of which some are refused, and it is not known which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspects {
    /// They are below this offset.
    pub until: SourceOffset,
    /// So many of them share a request, and nothing else does.
    pub group: usize,
}

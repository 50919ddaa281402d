//! Buffers of the scanner, reused from value to value.

use super::docs::give_back;

/// The buffers of a pass.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Paths that are active in the current value and in those around it; the scanner uses ranges
    /// of it.
    pub(super) active: Vec<Active>,
    /// Names of paths that occurred in the open objects.
    pub(super) met: Vec<Active>,
    /// All names of the open objects of which a path visits every name.
    pub(super) names: Vec<Name>,
    /// Names with their escapes resolved.
    pub(super) unescaped: Vec<u8>,
    /// The steps to the current value, if pointers are asked for.
    pub(super) way: Vec<PathStep>,
}

/// A path and its next positions, as bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub(super) path: u8,
    pub(super) places: u32,
}

/// A name, as a range of the value or of [`Workspace::unescaped`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) was_escaped: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum PathStep {
    Name(Name),
    Index(u32),
}

impl Workspace {
    pub(super) fn clear(&mut self) {
        self.active.clear();
        self.met.clear();
        self.names.clear();
        self.unescaped.clear();
        self.way.clear();
    }

    /// Gives memory back that a large value has taken.
    pub(super) fn give_back(&mut self) {
        self.clear();
        give_back(&mut self.active);
        give_back(&mut self.met);
        give_back(&mut self.names);
        give_back(&mut self.unescaped);
        give_back(&mut self.way);
    }
}

impl Name {
    #[inline]
    pub(super) fn bytes<'t>(&self, text: &'t [u8], unescaped: &'t [u8]) -> &'t [u8] {
        let from = if self.was_escaped { unescaped } else { text };
        from.get(self.start..self.end).unwrap_or_default()
    }
}

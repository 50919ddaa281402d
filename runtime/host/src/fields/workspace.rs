//! Buffers of a pass over a value, reused from value to value.

/// Buffers that are reused from value to value.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Paths that stand somewhere in the value at hand; the scanner takes ranges of it.
    pub(super) active: Vec<Active>,
    /// Names of paths met in the objects that are open.
    pub(super) met: Vec<Active>,
    /// All names of the open objects in which every name is on a path.
    pub(super) names: Vec<Name>,
    /// Names that had escapes, without them.
    pub(super) unescaped: Vec<u8>,
    /// The way to the value at hand, where pointers are wanted.
    pub(super) way: Vec<PathStep>,
}

/// A path and the places in it that come next, as bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub(super) path: u8,
    pub(super) places: u32,
}

/// A name, in the value or in [`Workspace::unescaped`].
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
}

impl Name {
    #[inline]
    pub(super) fn bytes<'t>(&self, text: &'t [u8], unescaped: &'t [u8]) -> &'t [u8] {
        let from = if self.was_escaped { unescaped } else { text };
        from.get(self.start..self.end).unwrap_or_default()
    }
}

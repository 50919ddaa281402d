//! The paths that a scan looks for, with what the scanner asks of them.

use strait_core::json_path::{self, PathError, Segment};

/// A path, and which of its segments walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    path: json_path::Path,
    /// Segments that visit every name of an object, as bits.
    walks: u32,
}

impl Path {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let path = json_path::Path::parse(text)?;
        let mut walks = 0;
        for (index, segment) in path.segments().iter().enumerate() {
            if matches!(segment, Segment::Each | Segment::Below(_)) {
                walks |= 1 << index;
            }
        }
        Ok(Self { path, walks })
    }

    pub(crate) fn segment(&self, index: u32) -> Option<&Segment> {
        self.path.segments().get(index as usize)
    }

    /// Returns the bit of a match.
    pub(crate) fn end(&self) -> u32 {
        1 << self.path.segments().len()
    }

    /// Returns whether, at these positions, every name of an object is on the path.
    pub(crate) fn walks(&self, places: u32) -> bool {
        self.walks & places != 0
    }

    /// Returns the name that an insert adds, if the path has a single match.
    pub(crate) fn insertable(&self) -> Option<&[u8]> {
        match self.path.segments().last() {
            Some(Segment::Name(name)) if self.walks == 0 => Some(name.as_bytes()),
            _ => None,
        }
    }

    /// Returns the position in the path at the object around its last name.
    pub(crate) fn last_place(&self) -> u32 {
        self.end() >> 1
    }
}

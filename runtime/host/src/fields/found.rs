//! The result of a pass over a value: its state, and where the paths occur in it.

/// The state of a value as a document. The discriminants are the interface's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ValueState {
    Parsed = 0,
    Null = 1,
    Empty = 2,
    NotJson = 3,
    NotUtf8 = 4,
    BomOrTrailing = 5,
    NameTwice = 6,
    TooDeepOrLarge = 7,
    WrongShape = 8,
}

impl ValueState {
    /// Returns the host's reject code and text for a value that a required plugin cannot judge;
    /// `None` if it can.
    pub(crate) fn unjudged(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Parsed | Self::Null => return None,
            Self::Empty => ("value-empty", "the value is empty, not a JSON document"),
            Self::NotJson => ("value-not-json", "the value is not JSON"),
            Self::NotUtf8 => ("value-not-utf8", "the value is not UTF-8"),
            Self::BomOrTrailing => {
                ("value-bom-or-trailing", "the value starts with a byte order mark or goes on after its JSON document")
            }
            Self::NameTwice => ("value-name-twice", "a name comes twice on the path of a field"),
            Self::TooDeepOrLarge => {
                ("value-too-deep-or-large", "the JSON document is too deep or holds too many fields")
            }
            Self::WrongShape => {
                ("value-wrong-shape", "something stands in the path of a field that it cannot step into")
            }
        })
    }
}

/// A match of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    /// Index of the path in its set.
    pub(crate) path: u8,
    /// Range of the JSON text in the value.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Start of the member's name; for an element, the same as `start`.
    pub(crate) item: u32,
    /// Start of the object or array around it.
    pub(crate) container: u32,
    /// Index of the member or element in its container.
    pub(crate) ordinal: u32,
    /// Its JSON Pointer, in [`Found::pointers`].
    pub(crate) pointer: (u32, u32),
}

/// An object to which the last name of a path could be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) path: u8,
    /// Positions of its braces.
    pub(crate) open: u32,
    pub(crate) close: u32,
    pub(crate) members: u32,
}

/// Matches in many values, one value after the other.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) occurrences: Vec<Occurrence>,
    pub(crate) parents: Vec<Parent>,
    pub(crate) pointers: Vec<u8>,
}

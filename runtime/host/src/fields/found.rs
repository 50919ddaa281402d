//! What one pass over a value gives: what the value is, and where the paths occur in it.

/// What a value is, as a document. The discriminants are the interface's numbers.
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
}

impl ValueState {
    /// The host's reject code for a value that a plugin which fails closed cannot judge, and what it means.
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
        })
    }
}

/// A place that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    /// Index into the set.
    pub(crate) path: u8,
    /// The JSON text in the value.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Where the member's name starts; for an element, the same as `start`.
    pub(crate) item: u32,
    /// Where the object or array that holds it starts.
    pub(crate) container: u32,
    /// Which member or element of that it is, from 0.
    pub(crate) ordinal: u32,
    /// Its JSON Pointer, in [`Found::pointers`].
    pub(crate) pointer: (u32, u32),
}

/// An object to which a path could add its last name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) path: u8,
    /// Where it starts and where its closing brace is.
    pub(crate) open: u32,
    pub(crate) close: u32,
    pub(crate) members: u32,
}

/// What was found, of many values one after the other.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) occurrences: Vec<Occurrence>,
    pub(crate) parents: Vec<Parent>,
    pub(crate) pointers: Vec<u8>,
}

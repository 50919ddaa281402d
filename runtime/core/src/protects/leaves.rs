//! The rest that a plugin leaves of a place, from nothing to all, and the partial order of it.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::text::clean;

/// The most that is left of what stood in a place. `a <= b` if `a` shows nothing that `b` does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leaves {
    /// Nothing: not even that it stood there.
    Nothing,
    /// A null.
    Null,
    /// The same for every content.
    Constant,
    /// A pseudonym, which is the same for the same content. Without a key it can be guessed.
    Token(Option<TokenKey>),
    /// Some characters of a text, and how many there were.
    Part(Kept),
    /// All of it.
    All,
}

/// The key of pseudonyms. Two keys do not compare: who has pseudonyms of both knows more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// Key id of the secret.
    pub id: Arc<str>,
    /// The domain. Within one, the same content has the same pseudonym.
    pub domain: Arc<str>,
}

/// The characters that stay readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept {
    /// At most so many at the start.
    pub first: u32,
    /// At most so many at the end.
    pub last: u32,
}

impl Leaves {
    fn is_at_most(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Part(mine), Self::Part(theirs)) => mine.first <= theirs.first && mine.last <= theirs.last,
            (Self::Token(mine), Self::Token(theirs)) => theirs.is_none() || mine == theirs,
            (mine, theirs) => mine.rank() < theirs.rank() || mine == theirs,
        }
    }

    /// Returns the place in the order. A token and a part have the same, and do not compare.
    fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Null => 1,
            Self::Constant => 2,
            Self::Token(_) | Self::Part(_) => 3,
            Self::All => 4,
        }
    }
}

impl PartialOrd for Leaves {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.is_at_most(other), other.is_at_most(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

/// Writes it for an operator.
impl fmt::Display for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Null => f.write_str("a null"),
            Self::Constant => f.write_str("a constant"),
            Self::Token(None) => f.write_str("a pseudonym without a key, which can be guessed"),
            Self::Token(Some(TokenKey { id, domain })) => {
                write!(f, "a pseudonym by key {} in domain {}", clean(id, 32), clean(domain, 128))
            }
            Self::Part(Kept { first: 0, last: 0 }) => f.write_str("the number of characters"),
            Self::Part(Kept { first, last: 0 }) => write!(f, "the first {first} characters"),
            Self::Part(Kept { first: 0, last }) => write!(f, "the last {last} characters"),
            Self::Part(Kept { first, last }) => write!(f, "the first {first} and the last {last} characters"),
            Self::All => f.write_str("all of it"),
        }
    }
}

//! Text and bytes that are borrowed from a record, or counted where they were made.

use std::{cmp::Ordering, ops::Deref, rc::Rc};

/// Borrowed or counted: a copy of it costs the same however long it is.
#[derive(Debug)]
pub enum Shared<'a, T: ?Sized> {
    Borrowed(&'a T),
    Counted(Rc<T>),
}

impl<T: ?Sized> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Borrowed(borrowed) => Self::Borrowed(borrowed),
            Self::Counted(counted) => Self::Counted(Rc::clone(counted)),
        }
    }
}

impl<T: ?Sized> Deref for Shared<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(borrowed) => borrowed,
            Self::Counted(counted) => counted,
        }
    }
}

impl<'a> From<&'a str> for Shared<'a, str> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text)
    }
}

impl From<String> for Shared<'_, str> {
    fn from(text: String) -> Self {
        Self::Counted(text.into())
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Shared<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: ?Sized + Eq> Eq for Shared<'_, T> {}

impl<T: ?Sized + Ord> PartialOrd for Shared<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: ?Sized + Ord> Ord for Shared<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

//! Fields of JSON values: paths, one strict pass over each value, and edits that leave the rest of the document as it is.

mod docs;
mod lexer;
mod path;
mod scan;
mod set;
mod splice;
#[cfg(test)]
mod tests;

pub(crate) use docs::{Doc, DocId, Docs};
pub(crate) use scan::Occurrence;
pub(crate) use set::{Lens, share};
pub(crate) use splice::FieldEdit;

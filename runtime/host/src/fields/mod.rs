//! Fields of JSON values: paths, one strict pass over each value, and edits that leave the rest of
//! the document unchanged.

mod docs;
mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod lens;
mod lexer;
mod path;
mod scan;
mod splice;
#[cfg(test)]
mod tests;
mod workspace;

pub(crate) use docs::{Doc, DocId, Docs};
pub(crate) use found::Occurrence;
pub(crate) use lens::{FIELDS_MAX, Lens, share};
pub(crate) use splice::FieldEdit;

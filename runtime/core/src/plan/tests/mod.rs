//! Plans of whole links, by cases and by a model of two clusters.

mod cases;
mod model;

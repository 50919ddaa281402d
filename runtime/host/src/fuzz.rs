//! Entry points for the fuzzers (`tests/fuzz`), and for the tests, which run the committed corpora.
//! Built for both alone.

pub use crate::chain::fuzz::edits;
pub use crate::fields::fuzz::fields;
pub use crate::load::fuzz::{package, schema};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_corpora_holds() {
        strait_corpus::run("edits", edits);
        strait_corpus::run("fields", fields);
        strait_corpus::run("package", package);
        strait_corpus::run("schema", schema);
    }
}

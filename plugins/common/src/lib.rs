//! What the bundled plugins share: by what of a record they go, hashes that stay what they are, names made by patterns, counting.

pub mod by;
pub mod hash;
pub mod rewrite;
pub mod tally;

/// JSON pointer (RFC 6901) to an entry of a configuration's `table`.
#[must_use]
pub fn in_table(name: &str) -> String {
    format!("/table/{}", name.replace('~', "~0").replace('/', "~1"))
}

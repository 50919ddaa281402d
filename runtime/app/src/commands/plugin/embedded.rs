//! What the binary carries for authors (see build.rs).

/// Path from the root of the repository, and content.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The files under a folder, by their path from it.
pub fn under(folder: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(move |(path, text)| Some((path.strip_prefix(folder)?.strip_prefix('/')?, *text)))
}

/// One file. Empty where there is none, which the tests of `new` would show.
#[must_use]
pub fn file(path: &str) -> &'static str {
    FILES.iter().find(|(name, _)| *name == path).map_or("", |(_, text)| text)
}

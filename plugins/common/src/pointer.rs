//! Places in a configuration, for what is wrong there.

/// The JSON Pointer to the member of this name in the object at `object`.
#[must_use]
pub fn pointer(object: &str, name: &str) -> String {
    format!("{object}/{}", name.replace('~', "~0").replace('/', "~1"))
}

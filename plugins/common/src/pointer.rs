//! JSON Pointers to mistakes in a configuration.

/// Returns the JSON Pointer to the member `name` of the object at `object`.
#[must_use]
pub fn pointer(object: &str, name: &str) -> String {
    format!("{object}/{}", name.replace('~', "~0").replace('/', "~1"))
}

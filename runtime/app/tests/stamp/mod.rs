//! A plugin that stamps its version.

/// Returns the plugin with this schema of its configuration; none where it is empty.
pub fn stamp(version: &str, schema: &str) -> Vec<u8> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/test-guests/stamp.wat"))
        .replace("@STAMP@", version)
        .replace("@INTERFACE@", "0.1.0")
        .replace("@CONFIGURE@", "0")
        .replace("@TROUBLE@", "")
        .replace("@SCHEMA@", &schema.replace('"', "\\22"))
        .replace("@SCHEMA_BYTES@", &schema.len().to_string())
        .replace("@PAGES@", "64")
        .replace("@PARTS@", "");
    wat::parse_str(text).unwrap()
}

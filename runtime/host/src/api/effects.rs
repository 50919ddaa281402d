//! Effects of a plugin on records, as bits of the interface (`effects` in `wit/v0.2/plugin.wit`).

/// Names of the effects, by bit.
pub(crate) const EFFECT_NAMES: [&str; 10] =
    ["drop", "key", "value", "field", "header", "timestamp", "topic", "partition", "emit", "reject"];

pub(crate) const DROP: u32 = 1;
pub(crate) const KEY: u32 = 1 << 1;
pub(crate) const VALUE: u32 = 1 << 2;
pub(crate) const FIELD: u32 = 1 << 3;
pub(crate) const HEADER: u32 = 1 << 4;
pub(crate) const TIMESTAMP: u32 = 1 << 5;
pub(crate) const TOPIC: u32 = 1 << 6;
pub(crate) const PARTITION: u32 = 1 << 7;
pub(crate) const EMIT: u32 = 1 << 8;
pub(crate) const REJECT: u32 = 1 << 9;
/// The effects that change the content of a record.
pub(crate) const CONTENT: u32 = KEY | VALUE | FIELD | HEADER;

/// Returns the names of these effects.
pub(crate) fn effect_names(effects: u32) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (bit, name) in EFFECT_NAMES.iter().enumerate() {
        if effects >> bit & 1 == 1 {
            names.push(*name);
        }
    }
    names
}

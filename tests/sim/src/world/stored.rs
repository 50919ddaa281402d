//! Progress and map records as they stand in their topics: encoded when they are written, decoded
//! whenever somebody looks.

use strait_core::PartitionKey;
use strait_core::map::MapRecord;
use strait_core::progress::{Position, ProgressFold};

use super::World;

/// A record as its topic holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Key.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
}

impl Stored {
    /// Returns its size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl World {
    /// Returns the position that a progress record holds, if it holds one.
    pub fn position_in(&mut self, stored: &Stored) -> Option<(PartitionKey, Position)> {
        let mut fold = ProgressFold::default();
        fold.fold(0, &stored.key, Some(&stored.value));
        match fold.finish() {
            Ok(progress) => progress.positions.into_iter().next(),
            Err(error) => {
                self.wrong(format!("a progress record cannot be read: {error}"));
                None
            }
        }
    }

    /// Returns what a map record holds.
    pub fn map_in(&mut self, stored: &Stored) -> Option<MapRecord> {
        let decoded = MapRecord::decode(&stored.key, &stored.value);
        decoded.map_err(|error| self.wrong(error.to_string())).ok()
    }
}

//! What a chain of one plugin uses, for `strait plugin bench`.

use super::{PluginChain, Stage};
use crate::plan::Column;

/// A column that the plugin was last given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnBytes {
    /// What it holds.
    pub name: &'static str,
    /// Its bytes in the last call of a plugin.
    pub bytes: usize,
}

impl PluginChain {
    /// Linear memories of all instances together, in bytes. They only grow, so this is also the most that they have had.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.stages.iter().map(Stage::memory_bytes).sum()
    }

    /// The columns of the last call of a plugin, in the order in which it asked for them, and the records that they are of.
    /// Nothing where no plugin looked at the last batch.
    #[must_use]
    pub fn last_columns(&self) -> (usize, Vec<ColumnBytes>) {
        let columns = self.scratch.packer.directory.chunks_exact(3).filter_map(|entry| {
            let [number, _, bytes] = *entry else { return None };
            let name = Column::new(number).ok()?.name();
            Some(ColumnBytes { name, bytes: usize::try_from(bytes).ok()? })
        });
        (self.scratch.rows.len(), columns.collect())
    }
}

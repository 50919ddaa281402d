//! Reading the books, for the link as a whole.

use std::time::Duration;

use async_trait::async_trait;

use super::PortError;

/// The records that are open in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCount {
    /// How many there are.
    pub records: u64,
    /// Since when the oldest is open, in milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
    /// How old this knowledge is: entries behind a transaction that has not ended cannot be read.
    pub age: Duration,
}

/// Reads the committed entries of the books.
#[async_trait]
pub trait BooksReader: Send + Sync {
    /// Counts the records that are open, of all lanes of the link.
    ///
    /// # Errors
    /// [`PortError`] if that is not known.
    async fn open_records(&self) -> Result<OpenCount, PortError>;
}

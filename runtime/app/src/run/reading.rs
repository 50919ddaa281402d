//! Reads files that may lie on a mount that hangs.

use std::time::Duration;

use tokio::task::JoinHandle;

/// A reading on a thread of its own, one at a time: a thread that hangs in a file cannot be ended.
#[derive(Debug)]
pub struct Reading<T> {
    under_way: Option<JoinHandle<T>>,
}

/// How a reading stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// It has ended with this.
    Done(T),
    /// It goes on.
    Hangs,
    /// It panicked.
    Lost,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self { under_way: None }
    }
}

impl<T: Send + 'static> Reading<T> {
    /// Waits for the reading that is under way, or begins with this one.
    pub async fn next(&mut self, read: impl FnOnce() -> T + Send + 'static, patience: Duration) -> Read<T> {
        let under_way = self.under_way.get_or_insert_with(|| tokio::task::spawn_blocking(read));
        let Ok(ended) = tokio::time::timeout(patience, under_way).await else { return Read::Hangs };
        self.under_way = None;
        ended.map_or(Read::Lost, Read::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_file_that_hangs_is_read_once_until_it_answers() {
        let (answer, answered) = mpsc::sync_channel::<u32>(1);
        let begun = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&begun);
        let mut reading = Reading::default();
        let hangs = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            answered.recv().unwrap()
        };
        assert_eq!(reading.next(hangs, Duration::from_millis(20)).await, Read::Hangs);
        let second = || -> u32 { panic!("a second reading") };
        assert_eq!(reading.next(second, Duration::from_millis(20)).await, Read::Hangs);
        answer.send(7).unwrap();
        let long = Duration::from_secs(60);
        assert_eq!(reading.next(second, long).await, Read::Done(7));
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert_eq!(reading.next(|| 8, long).await, Read::Done(8));
    }
}

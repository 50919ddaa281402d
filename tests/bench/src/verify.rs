//! A figure counts only if the copy is right: every record once, in order, in its partition.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::error::BenchError;
use crate::kafka::Kafka;
use crate::preload::number;
use crate::stop;

const STALL: Duration = Duration::from_secs(30);

/// The result of reading the committed records of a topic whose keys number them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Per partition, how many records.
    pub records: Vec<u64>,
    /// Records whose number was not the one due in their partition, with the first of them in
    /// words.
    pub wrong: u64,
    pub first_wrong: Option<String>,
    /// Bytes of the values.
    pub value_bytes: u64,
}

impl Found {
    pub fn total(&self) -> u64 {
        self.records.iter().sum()
    }

    fn see(&mut self, partition: i32, key: Option<&[u8]>, value_bytes: usize) {
        let partitions = self.records.len() as u64;
        let Some(seen) = usize::try_from(partition).ok().and_then(|index| self.records.get_mut(index)) else {
            return;
        };
        let due = *seen * partitions + u64::try_from(partition).unwrap_or_default();
        *seen += 1;
        self.value_bytes += value_bytes as u64;
        let got = key.and_then(number);
        if got != Some(due) {
            self.wrong += 1;
            self.first_wrong
                .get_or_insert_with(|| format!("partition {partition}: record {got:?} where {due} was due"));
        }
    }
}

/// Reads the topic from its beginning to its last stable offset.
///
/// # Errors
/// The library's, or a reader that gets nothing for 30 s.
pub fn read(kafka: &Kafka, topic: &str, partitions: i32) -> Result<Found, BenchError> {
    let failed = || BenchError::kafka(format!("verifying {topic}"));
    let reader = kafka.reader()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed())?;
    }
    reader.assign(&list).map_err(failed())?;
    let count = usize::try_from(partitions).unwrap_or_default();
    let mut found = Found { records: vec![0; count], ..Found::default() };
    let mut open = count;
    let mut last_news = Instant::now();
    while open > 0 {
        match reader.poll(Duration::from_millis(200)) {
            None => {
                stop::check()?;
                if last_news.elapsed() > STALL {
                    let reason = format!("a reader of {topic} got nothing for {} s", STALL.as_secs());
                    return Err(BenchError::Wrong { system: topic.to_owned(), reason });
                }
                continue;
            }
            Some(Ok(message)) => {
                found.see(message.partition(), message.key(), message.payload().map_or(0, <[u8]>::len))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(failed()(error)),
        }
        last_news = Instant::now();
    }
    Ok(found)
}

/// # Errors
/// [`BenchError::Wrong`] unless these are exactly `expected` records of `value_bytes` each, or, for
/// an unfinished copy (`expected` is `None`), a beginning of every partition.
pub fn judge(system: &str, found: &Found, expected: Option<u64>, value_bytes: usize) -> Result<(), BenchError> {
    let wrong = |reason: String| Err(BenchError::Wrong { system: system.to_owned(), reason });
    if let Some(first) = &found.first_wrong {
        return wrong(format!("{} records lost, doubled or out of order; first: {first}", found.wrong));
    }
    let partitions = found.records.len() as u64;
    for (index, records) in found.records.iter().enumerate() {
        let due = expected.map(|expected| (expected + partitions - 1 - index as u64) / partitions);
        if due.is_some_and(|due| due != *records) {
            return wrong(format!("partition {index} has {records} records instead of {due:?}"));
        }
    }
    let bytes = found.total() * value_bytes as u64;
    if found.value_bytes != bytes {
        return wrong(format!("{} bytes of values instead of {bytes}", found.value_bytes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preload::key;

    fn copy(numbers: &[(i32, u64)]) -> Found {
        let mut found = Found { records: vec![0; 2], ..Found::default() };
        for (partition, number) in numbers {
            found.see(*partition, Some(key(*number).as_bytes()), 10);
        }
        found
    }

    #[test]
    fn a_copy_is_right_only_with_every_record_once_in_order_in_its_partition() {
        assert!(judge("x", &copy(&[(0, 0), (1, 1), (0, 2)]), Some(3), 10).is_ok());
        assert!(judge("x", &copy(&[(0, 0), (1, 1)]), None, 10).is_ok());
        assert!(judge("x", &copy(&[(0, 0), (1, 1)]), Some(3), 10).is_err(), "lost at the end");
        assert!(judge("x", &copy(&[(0, 2), (1, 1)]), None, 10).is_err(), "lost at the beginning");
        assert!(judge("x", &copy(&[(0, 0), (0, 0), (1, 1)]), None, 10).is_err(), "doubled");
        assert!(judge("x", &copy(&[(1, 0), (0, 1)]), None, 10).is_err(), "in the other's partition");
        assert!(judge("x", &copy(&[(0, 0), (1, 1), (0, 2)]), Some(3), 11).is_err(), "shortened");
    }
}

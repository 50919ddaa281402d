//! The records in flight to each target partition.
//!
//! The client may put everything that is in flight to a partition into one request, whichever
//! source partitions it comes from. So the bounds of a request, and the question whether a record
//! was alone in it, are those of the target partition.

use std::time::Duration;

use super::Stream;
use crate::ports::TopicHandle;

/// Bytes that may be in flight before the line to the target is measured, or however slow it is.
const ALLOWANCE_MIN: usize = 16 << 20;

/// Time for which the line may carry what is in flight. Well below the time after which the client
/// gives up on a record.
const ALLOWANCE: Duration = Duration::from_secs(10);

/// Shortest time over which the line is measured.
const SAMPLE: Duration = Duration::from_millis(500);

/// While nothing was ever acknowledged, a partition counts as late this many times later: the line
/// may be slow.
const UNMEASURED_PATIENCE: u32 = 4;

/// A partition of an open target topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub topic: TopicHandle,
    pub partition: i32,
}

/// How a record shares its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With any others.
    Plain,
    /// With any others, and before those that wait: the other copies of its record are sent.
    Rest,
    /// With other suspects of its stream only.
    Suspect,
    /// Alone.
    Alone,
}

/// The records in flight to one target partition.
#[derive(Clone, Copy, Debug, Default)]
struct Flight {
    records: usize,
    bytes: usize,
    /// When the target last acknowledged a record, or the first one was sent.
    heard: Duration,
    /// The stream that has the partition for itself while these are in flight.
    owner: Option<Stream>,
    /// A stream that waits until nothing is in flight.
    wanted_by: Option<Stream>,
}

/// The records in flight to all target partitions.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// By topic handle and partition.
    flights: Vec<Vec<Flight>>,
    bytes: usize,
    /// The most bytes that were in flight since there were none.
    bytes_max: usize,
    line: Line,
}

impl InFlight {
    fn flight(&self, place: Place) -> Flight {
        let topic = self.flights.get(place.topic.0 as usize);
        let partition = usize::try_from(place.partition).ok();
        topic.zip(partition).and_then(|(topic, partition)| topic.get(partition)).copied().unwrap_or_default()
    }

    fn flight_mut(&mut self, place: Place) -> Option<&mut Flight> {
        let (topic, partition) = (place.topic.0 as usize, usize::try_from(place.partition).ok()?);
        if self.flights.len() <= topic {
            self.flights.resize_with(topic + 1, Vec::new);
        }
        let topic = self.flights.get_mut(topic)?;
        if topic.len() <= partition {
            topic.resize_with(partition + 1, Flight::default);
        }
        topic.get_mut(partition)
    }

    /// Returns whether a record of this size may be sent now, if a request takes `bytes_max`. Where
    /// it wants the partition for itself, others wait for it.
    pub fn admits(&mut self, place: Place, stream: Stream, manner: Manner, size: usize, bytes_max: usize) -> bool {
        let flight = self.flight(place);
        let others_wait = flight.wanted_by.is_some_and(|other| other != stream);
        if flight.records == 0 {
            return !others_wait || manner == Manner::Rest;
        }
        let fits = flight.bytes + size <= bytes_max;
        match (manner, flight.owner) {
            (Manner::Suspect, Some(owner)) if owner == stream => return fits,
            (Manner::Plain, None) => return fits && !others_wait,
            (Manner::Rest, None) => return fits,
            (Manner::Plain | Manner::Rest, Some(_)) => return false,
            (Manner::Suspect | Manner::Alone, _) => {}
        }
        if let Some(flight) = self.flight_mut(place) {
            flight.wanted_by.get_or_insert(stream);
        }
        false
    }

    /// Counts a record that was sent.
    pub fn sent(&mut self, place: Place, stream: Stream, manner: Manner, size: usize, now: Duration) {
        if self.bytes == 0 {
            self.line.begins(now);
            self.bytes_max = 0;
        }
        self.bytes += size;
        self.bytes_max = self.bytes_max.max(self.bytes);
        let Some(flight) = self.flight_mut(place) else { return };
        if flight.records == 0 {
            flight.heard = now;
            flight.owner = matches!(manner, Manner::Suspect | Manner::Alone).then_some(stream);
        }
        flight.wanted_by.take_if(|waiting| *waiting == stream);
        flight.records += 1;
        flight.bytes += size;
    }

    /// Counts acknowledged records.
    pub fn acknowledged(&mut self, place: Place, records: usize, bytes: usize, now: Duration) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.line.carried(bytes, now);
        let Some(flight) = self.flight_mut(place) else { return };
        flight.records = flight.records.saturating_sub(records);
        flight.bytes = flight.bytes.saturating_sub(bytes);
        flight.heard = now;
        if flight.records == 0 {
            flight.owner = None;
        }
    }

    /// Returns how many records are in flight to a partition. A record that is the only one was
    /// alone in its request: those that shared a request are acknowledged or refused together.
    pub fn records(&self, place: Place) -> usize {
        self.flight(place).records
    }

    /// Returns whether the line needs the time of an allowance for what is in flight.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.line.carries(ALLOWANCE).unwrap_or_default().max(ALLOWANCE_MIN)
    }

    /// Returns the partitions for which nothing was acknowledged since `patience` ago although
    /// something is in flight, and since when.
    pub fn late(&self, now: Duration, patience: Duration) -> Vec<(Place, Duration)> {
        let mut late = Vec::new();
        for (topic, flights) in (0..).map(TopicHandle).zip(&self.flights) {
            for (partition, flight) in (0..).zip(flights) {
                if flight.records > 0 && now.saturating_sub(flight.heard) >= patience {
                    late.push((Place { topic, partition }, flight.heard));
                }
            }
        }
        late
    }

    /// Returns how long a partition that can be written may take to answer: twice as long as the
    /// line needs for everything that was in flight together, but not less than `least`. The last
    /// partition to be written has waited for all the others, although little is in flight by then.
    pub fn patience(&self, least: Duration) -> Duration {
        let needed = self.line.needs(self.bytes_max).map(|needed| needed * 2);
        needed.unwrap_or(least * UNMEASURED_PATIENCE).max(least)
    }
}

/// The measured line to the target: how many bytes of records it carries in a second.
#[derive(Debug, Default)]
struct Line {
    since: Duration,
    bytes: usize,
    bytes_per_s: Option<u64>,
}

impl Line {
    /// Something is in flight again.
    fn begins(&mut self, now: Duration) {
        (self.since, self.bytes) = (now, 0);
    }

    /// Counts bytes that arrived.
    fn carried(&mut self, bytes: usize, now: Duration) {
        self.bytes += bytes;
        let took = now.saturating_sub(self.since);
        if took < SAMPLE {
            return;
        }
        let sample = u64::try_from(self.bytes as u128 * 1000 / took.as_millis().max(1)).unwrap_or(u64::MAX);
        // A single sample may be a moment in which nothing arrived.
        let kept = self.bytes_per_s.map_or(0, |rate| rate / 8 * 7);
        self.bytes_per_s = Some(sample.max(kept).max(1));
        (self.since, self.bytes) = (now, 0);
    }

    /// Returns how many bytes it carries in this time, if it is measured.
    fn carries(&self, time: Duration) -> Option<usize> {
        let bytes = self.bytes_per_s?.saturating_mul(time.as_secs());
        Some(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Returns how long it needs for so many bytes, if it is measured.
    fn needs(&self, bytes: usize) -> Option<Duration> {
        Some(Duration::from_millis((bytes as u64).saturating_mul(1000) / self.bytes_per_s?.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { topic: TopicHandle(1), partition: 2 };

    fn streams() -> [Stream; 2] {
        [Stream(0), Stream(1)]
    }

    #[test]
    fn all_streams_together_fill_one_request_of_a_partition_and_no_more() {
        let [a, b] = streams();
        let mut flights = InFlight::default();
        assert!(flights.admits(PLACE, a, Manner::Plain, 900, 100), "a record that is too large goes alone");
        flights.sent(PLACE, a, Manner::Plain, 60, Duration::ZERO);
        assert!(flights.admits(PLACE, b, Manner::Plain, 40, 100));
        flights.sent(PLACE, b, Manner::Plain, 40, Duration::ZERO);
        assert!(!flights.admits(PLACE, a, Manner::Plain, 1, 100));
        assert!(!flights.admits(PLACE, b, Manner::Rest, 1, 100));
        assert!(flights.admits(Place { partition: 3, ..PLACE }, a, Manner::Plain, 100, 100));
        flights.acknowledged(PLACE, 1, 60, Duration::ZERO);
        assert!(flights.admits(PLACE, a, Manner::Plain, 60, 100));
        assert_eq!(flights.records(PLACE), 1);
    }

    #[test]
    fn suspects_share_a_request_with_nobody_and_are_not_kept_waiting_for_ever() {
        let [a, b] = streams();
        let mut flights = InFlight::default();
        flights.sent(PLACE, a, Manner::Plain, 10, Duration::ZERO);
        assert!(!flights.admits(PLACE, b, Manner::Suspect, 10, 100), "another record is in flight");
        assert!(!flights.admits(PLACE, a, Manner::Plain, 10, 100), "the suspect is next");
        assert!(flights.admits(PLACE, a, Manner::Rest, 10, 100), "a record that is sent in part is completed");
        flights.acknowledged(PLACE, 1, 10, Duration::ZERO);
        assert!(!flights.admits(PLACE, a, Manner::Plain, 10, 100));
        assert!(flights.admits(PLACE, b, Manner::Suspect, 10, 100));
        flights.sent(PLACE, b, Manner::Suspect, 10, Duration::ZERO);
        assert!(flights.admits(PLACE, b, Manner::Suspect, 10, 100));
        assert!(!flights.admits(PLACE, b, Manner::Alone, 10, 100));
        assert!(!flights.admits(PLACE, a, Manner::Plain, 10, 100));
        assert!(!flights.admits(PLACE, a, Manner::Rest, 10, 100));
        flights.acknowledged(PLACE, 1, 10, Duration::ZERO);
        flights.sent(PLACE, b, Manner::Alone, 10, Duration::ZERO);
        flights.acknowledged(PLACE, 1, 10, Duration::ZERO);
        assert!(flights.admits(PLACE, a, Manner::Plain, 10, 100));
    }

    #[test]
    fn patience_and_allowance_follow_the_measured_line() {
        let [a, _] = streams();
        let mut flights = InFlight::default();
        let (second, least) = (Duration::from_secs(1), Duration::from_secs(5));
        for _ in 0..64 {
            flights.sent(PLACE, a, Manner::Plain, 1 << 20, Duration::ZERO);
        }
        assert!(flights.is_full());
        assert_eq!(flights.patience(least), least * UNMEASURED_PATIENCE);
        for step in 1..=4 {
            flights.acknowledged(PLACE, 8, 8 << 20, second * step);
        }
        // 64 MiB were in flight together, on a line of 8 MiB/s.
        assert_eq!(flights.patience(least), second * 16);
        assert!(!flights.is_full(), "80 MiB may be in flight");
        assert_eq!(flights.late(second * 8, least), []);
        assert_eq!(flights.late(second * 9, least), [(PLACE, second * 4)]);
        for step in 5..=7 {
            flights.acknowledged(PLACE, 8, 8 << 20, second * step);
        }
        assert_eq!(flights.patience(least), second * 16, "the last may have waited for all the others");
        flights.acknowledged(PLACE, 8, 8 << 20, second * 8);
        flights.sent(PLACE, a, Manner::Plain, 1 << 20, second * 9);
        assert_eq!(flights.patience(least), least);
    }
}

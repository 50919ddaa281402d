//! Batches and records that are damaged in the source's log.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use strait_e2e::{Record, Strait, TestClient, write_records};

use crate::support::{Pair, Turn, copy, key_range, record, stop, wait_event};

/// Bytes of a batch before the part that its checksum covers, and of its whole header.
const CHECKED_FROM: usize = 21;
const HEADER: usize = 61;

/// Returns the CRC-32C of bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The only segment of partition 0 of a topic at the source, as its broker has it on disk.
struct Segment {
    path: PathBuf,
    sound: Vec<u8>,
}

impl Segment {
    fn of(pair: &Pair, topic: &str) -> Self {
        let path = pair.source.partition_folder(1, topic, 0).join("00000000000000000000.log");
        let sound = fs::read(&path).unwrap();
        Self { path, sound }
    }

    /// Returns where the batch is that contains an offset, and the offsets that it has.
    fn batch_at(&self, offset: i64) -> (Range<usize>, Range<i64>) {
        let mut at = 0;
        loop {
            let batch = &self.sound[at..];
            let number = |from: usize| i32::from_be_bytes(batch[from..from + 4].try_into().unwrap());
            let first = i64::from_be_bytes(batch[..8].try_into().unwrap());
            let end = at + 12 + usize::try_from(number(8)).unwrap();
            let offsets = first..first + i64::from(number(23)) + 1;
            if offsets.contains(&offset) {
                return (at..end, offsets);
            }
            at = end;
        }
    }

    /// Changes the batch that contains an offset. With `is_sealed` its checksum fits again. Returns
    /// the offsets of the batch.
    fn damage(&self, offset: i64, is_sealed: bool, change: impl Fn(&mut [u8])) -> Range<i64> {
        let (place, offsets) = self.batch_at(offset);
        let mut batch = self.sound[place.clone()].to_vec();
        change(&mut batch);
        if is_sealed {
            let sum = crc32c(&batch[CHECKED_FROM..]).to_be_bytes();
            batch[CHECKED_FROM - 4..CHECKED_FROM].copy_from_slice(&sum);
        }
        self.write(place.start, &batch);
        offsets
    }

    fn repair(&self) {
        self.write(0, &self.sound);
    }

    /// Writes in place: the broker has the file open.
    fn write(&self, at: usize, bytes: &[u8]) {
        let file = fs::File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    }
}

/// Writes numbered records in a batch.
fn write_batch(source: &TestClient, topic: &str, first: u64, count: u64, codec: &str) {
    let mut config = source.config();
    config.set("linger.ms", "200").set("compression.type", codec);
    let value = [b'v'; 200];
    let one = |number: u64| Record { partition: 0, ..record(Some(number.to_string().as_bytes()), Some(&value)) };
    let records: Vec<Record> = (first..first + count).map(one).collect();
    write_records(&config, topic, &records).unwrap();
}

fn flip(batch: &mut [u8]) {
    batch[HEADER + 10] ^= 0x55;
}

/// Returns the keys of records 0 to 150 without those in `gone`, and after them those from 150 on.
fn without(gone: &Range<i64>, more: u64) -> Vec<String> {
    let number = |n: i64| u64::try_from(n).unwrap();
    [key_range(0, number(gone.start)), key_range(number(gone.end), 150 + more - number(gone.end))].concat()
}

#[test]
fn damaged_batches_stop_their_partition_or_are_skipped_exactly_as_policy_says() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    let write = |topic: &str, first: u64, count: u64| {
        write_batch(&source, topic, first, count, if topic == "damaged-codec" { "lz4" } else { "none" });
    };
    let topics = ["damaged-sum", "damaged-last", "damaged-codec", "damaged-header", "damaged-not"];
    for topic in topics {
        source.create_topic(topic, 1, &[]).unwrap();
        for first in [0, 50, 100] {
            write(topic, first, 50);
        }
    }
    let segment = |topic: &str| Segment::of(&pair, topic);
    let (sum, last, codec, header) = (segment(topics[0]), segment(topics[1]), segment(topics[2]), segment(topics[3]));
    let gone = [
        sum.damage(70, false, flip),
        last.damage(149, false, flip),
        codec.damage(70, true, |batch| batch[HEADER..HEADER + 12].fill(0xff)),
        // The number of headers of the batch's last record, of which there is none.
        header.damage(70, true, |batch| *batch.last_mut().unwrap() = 2),
    ];
    // Only that one record.
    let one = gone[3].end - 1..gone[3].end;
    let gone = [gone[0].clone(), gone[1].clone(), gone[2].clone(), one];

    let links = [("damaged-stop", ""), ("damaged-skip", "on_corrupt = \"skip\"")]
        .map(|(name, more)| pair.link_from(name, &["damaged-.*"], more));
    let config = pair.config(&links.concat());
    let mut strait = Strait::run("damaged", &config, &[]).unwrap();
    for (topic, gone) in topics.iter().zip(&gone) {
        let stopped = wait_event(&strait, "damaged-stop", "source_corrupt", &format!("{topic}-0"));
        assert!(stopped.message().contains(&format!("offset {}, which", gone.start)), "{}", stopped.text);
        assert!(stopped.message().contains(&format!("up to offset {}:", gone.end - 1)), "{}", stopped.text);
        let skipped = wait_event(&strait, "damaged-skip", "corrupt_skipped", &format!("{topic}-0"));
        assert!(skipped.message().contains(&format!("offset {}, which", gone.start)), "{}", skipped.text);
        pair.wait_keys(&format!("damaged-skip.{topic}"), 0, &without(gone, 0));
        pair.wait_keys(&format!("damaged-stop.{topic}"), 0, &key_range(0, u64::try_from(gone.start).unwrap()));
    }
    for topic in topics {
        write(topic, 150, 20);
    }
    for link in ["damaged-stop", "damaged-skip"] {
        pair.wait_keys(&format!("{link}.damaged-not"), 0, &key_range(0, 170));
    }
    for (topic, gone) in topics.iter().zip(&gone) {
        pair.wait_keys(&format!("damaged-skip.{topic}"), 0, &without(gone, 20));
    }

    // Strait would retry by itself, but a restart is quicker.
    stop(&mut strait);
    for (event, count) in [("source_corrupt", 4), ("corrupt_skipped", 4), ("lane_restarted", 0)] {
        assert_eq!(strait.events(event).len(), count, "{:?}", strait.events(event));
    }
    for segment in [&sum, &last, &codec, &header] {
        segment.repair();
    }
    copy(&config);
    for topic in topics {
        pair.wait_keys(&format!("damaged-stop.{topic}"), 0, &key_range(0, 170));
    }
}

/// The records were copied before they were damaged; a stateful plugin sees them again.
#[test]
fn damage_in_what_plugins_look_back_at_stops_the_partition_or_is_left_out_as_policy_says() {
    const TOPIC: &str = "past-damaged";
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    source.create_topic(TOPIC, 1, &[]).unwrap();
    for first in [0, 50, 100] {
        write_batch(&source, TOPIC, first, 50, "none");
    }
    let plugin = "[[links.plugins]]\nplugin = \"dedupe\"\nconfig = { by = \"key\", records = 1000 }\n";
    let links = [("past-stop", ""), ("past-skip", "on_corrupt = \"skip\"")]
        .map(|(name, more)| pair.link_from(name, &[TOPIC], &format!("{more}\n{plugin}")));
    let config = pair.config(&links.concat());
    copy(&config);

    let segment = Segment::of(&pair, TOPIC);
    let gone = segment.damage(70, false, flip);
    write_batch(&source, TOPIC, 150, 20, "none");
    // One that the plugins have seen behind the damage.
    write_batch(&source, TOPIC, 149, 1, "none");
    write_batch(&source, TOPIC, 170, 1, "none");
    let mut strait = Strait::run("past", &config, &[]).unwrap();
    let stopped = wait_event(&strait, "past-stop", "source_corrupt", &format!("{TOPIC}-0"));
    assert!(stopped.message().contains(&format!("offset {}, which", gone.start)), "{}", stopped.text);
    pair.wait_keys(&format!("past-skip.{TOPIC}"), 0, &key_range(0, 171));
    assert_eq!(pair.keys(&format!("past-stop.{TOPIC}"), 0), key_range(0, 150));
    stop(&mut strait);
    assert!(strait.events("corrupt_skipped").is_empty(), "nothing is lost: {:?}", strait.events("corrupt_skipped"));

    segment.repair();
    copy(&config);
    pair.wait_keys(&format!("past-stop.{TOPIC}"), 0, &key_range(0, 171));
}

//! The ways in which one topic of many is broken.

use rdkafka::producer::{BaseProducer, Producer as _};
use strait_e2e::{Writer, write_records};

use super::damage::Damage;
use super::secured::{deny, no_longer_deny};
use super::stream::Stream;
use crate::support::{Pair, SOON, noise, open_transaction, record};

/// Records of a topic may have this size on the target.
pub const LIMIT_BYTES: &str = "50000";

/// A way to break a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The target cannot make the copy of a new topic: its name collides there.
    CannotBeMade,
    /// The target denies writes.
    WriteDenied,
    /// The source denies reads.
    ReadDenied,
    /// A byte of a batch in the source's log is flipped.
    Corrupt,
    /// Some records are larger than the target allows.
    Oversized,
    /// The copy is deleted.
    CopyDeleted,
    /// The source topic is deleted and made again.
    Remade,
    /// A transaction stays open.
    Hanging,
    /// A plugin breaks on records.
    Poisoned,
    /// The source topic has more partitions than the copy, which may not grow.
    CannotGrow,
}

impl Way {
    pub const ALL: [Self; 10] = [
        Self::CannotBeMade,
        Self::WriteDenied,
        Self::ReadDenied,
        Self::Corrupt,
        Self::Oversized,
        Self::CopyDeleted,
        Self::Remade,
        Self::Hanging,
        Self::Poisoned,
        Self::CannotGrow,
    ];

    /// Returns the ways that `STRAIT_SOAK_WAYS` names, or all.
    pub fn chosen() -> Vec<Self> {
        let Ok(names) = std::env::var("STRAIT_SOAK_WAYS") else { return Self::ALL.to_vec() };
        let named = |name: &str| Self::ALL.into_iter().find(|way| format!("{way:?}") == name);
        names.split(',').map(|name| named(name).unwrap_or_else(|| panic!("there is no way {name}"))).collect()
    }

    /// Reports whether one of the processes dies as well.
    pub fn kills_a_process(self) -> bool {
        self == Self::Hanging
    }

    /// Reports whether no lane has to be taken again for it.
    pub fn needs_no_retake(self) -> bool {
        matches!(self, Self::CannotBeMade | Self::WriteDenied | Self::ReadDenied | Self::Corrupt | Self::Oversized)
    }
}

/// A cause that is held until the topic is mended.
pub struct Broken {
    /// The producer of an open transaction.
    open: Option<BaseProducer>,
    damage: Option<Damage>,
}

/// Breaks the topic with this index.
pub fn break_topic(way: Way, pair: &Pair, stream: &Stream, index: usize) -> Broken {
    let topic = &stream.topics()[index];
    let copy = format!("source.{topic}");
    let (source, target) = (pair.at_source(), pair.at_target());
    let (mut open, mut damage) = (None, None);
    match way {
        Way::CannotBeMade => {
            target.create_topic("source_hundred_collides", 1, &[]).unwrap();
            source.create_topic("hundred.collides", 1, &[]).unwrap();
            write_records(&source.config(), "hundred.collides", &[record(None, Some(b"1"))]).unwrap();
        }
        Way::WriteDenied => deny(&pair.target, &copy, "WRITE"),
        Way::ReadDenied => deny(&pair.source, topic, "READ"),
        Way::Corrupt => damage = Some(Damage::make(&pair.source, &source, topic).unwrap()),
        Way::Oversized => {
            let records: Vec<_> = (0..20).map(|number| record(None, Some(&noise(60_000 + number)))).collect();
            write_records(&source.config(), topic, &records).unwrap();
        }
        Way::CopyDeleted => target.delete_topic(&copy).unwrap(),
        Way::Remade => {
            stream.mute(index, true);
            source.delete_topic(topic).unwrap();
            source.create_topic(topic, 1, &[]).unwrap();
            stream.mute(index, false);
        }
        Way::Hanging => {
            open = Some(open_transaction(&source, topic));
        }
        Way::Poisoned => {
            let writer = Writer::new(&source.config(), topic).unwrap();
            for _ in 0..20 {
                writer.send_alone(&record(Some(b"panic-me"), Some(b"x"))).unwrap();
            }
        }
        Way::CannotGrow => {
            deny(&pair.target, &copy, "ALTER");
            source.grow_topic(topic, 2).unwrap();
            let second = strait_e2e::Record { partition: 1, ..record(None, Some(b"1")) };
            write_records(&source.config(), topic, &[second]).unwrap();
        }
    }
    Broken { open, damage }
}

/// Takes the cause away, where there is something to take away.
pub fn mend(way: Way, pair: &Pair, stream: &Stream, index: usize, broken: Broken) {
    let topic = &stream.topics()[index];
    let copy = format!("source.{topic}");
    match way {
        Way::CannotBeMade => {
            pair.at_source().delete_topic("hundred.collides").unwrap();
        }
        Way::WriteDenied => no_longer_deny(&pair.target, &copy, "WRITE"),
        Way::ReadDenied => no_longer_deny(&pair.source, topic, "READ"),
        Way::CannotGrow => no_longer_deny(&pair.target, &copy, "ALTER"),
        Way::Hanging => {
            if let Some(producer) = broken.open {
                producer.abort_transaction(SOON).unwrap();
            }
        }
        Way::Corrupt => {
            if let Some(damage) = broken.damage {
                damage.mend();
            }
        }
        Way::Oversized | Way::CopyDeleted | Way::Remade | Way::Poisoned => {}
    }
}

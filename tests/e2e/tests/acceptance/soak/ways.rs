//! The ways in which one topic of many is broken.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use strait_e2e::{Writer, write_records};

use super::stream::Stream;
use crate::support::{Pair, SOON, kafka_tool, noise, record};

/// The principal of the link.
pub const USER: &str = "copier";
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

    /// Reports whether no lane has to be taken again for it.
    pub fn needs_no_retake(self) -> bool {
        matches!(self, Self::CannotBeMade | Self::WriteDenied | Self::ReadDenied | Self::Corrupt | Self::Oversized)
    }
}

/// An open transaction, or nothing, held until the topic is mended.
pub struct Broken {
    open: Option<BaseProducer>,
}

/// Breaks the topic with this index.
pub fn break_topic(way: Way, pair: &Pair, stream: &Stream, index: usize) -> Broken {
    let topic = &stream.topics()[index];
    let (source, target) = (pair.at_source(), pair.at_target());
    let mut open = None;
    match way {
        Way::CannotBeMade => {
            target.create_topic("source_hundred_collides", 1, &[]).unwrap();
            source.create_topic("hundred.collides", 1, &[]).unwrap();
            write_records(&source.config(), "hundred.collides", &[record(None, Some(b"1"))]).unwrap();
        }
        Way::WriteDenied => acl("acl", &pair.target.internal_bootstrap(), &denial(&format!("source.{topic}"), "WRITE")),
        Way::ReadDenied => acl("acl", &pair.source.internal_bootstrap(), &denial(topic, "READ")),
        Way::Corrupt => flip_a_byte(pair, stream, index),
        Way::Oversized => {
            let records: Vec<_> = (0..20).map(|number| record(None, Some(&noise(60_000 + number)))).collect();
            write_records(&source.config(), topic, &records).unwrap();
        }
        Way::CopyDeleted => target.delete_topic(&format!("source.{topic}")).unwrap(),
        Way::Remade => {
            stream.mute(index, true);
            source.delete_topic(topic).unwrap();
            source.create_topic(topic, 1, &[]).unwrap();
            stream.mute(index, false);
        }
        Way::Hanging => {
            let producer: BaseProducer = source
                .config()
                .set("transactional.id", "never-ends")
                .set("transaction.timeout.ms", "600000")
                .create()
                .unwrap();
            producer.init_transactions(SOON).unwrap();
            producer.begin_transaction().unwrap();
            producer.send(BaseRecord::to(topic).partition(0).key("open").payload("open")).unwrap();
            producer.flush(SOON).unwrap();
            open = Some(producer);
        }
        Way::Poisoned => {
            let writer = Writer::new(&source.config(), topic).unwrap();
            for _ in 0..20 {
                writer.send_alone(&record(Some(b"panic-me"), Some(b"x"))).unwrap();
            }
        }
        Way::CannotGrow => {
            acl("acl", &pair.target.internal_bootstrap(), &denial(&format!("source.{topic}"), "ALTER"));
            source.grow_topic(topic, 2).unwrap();
            let second = strait_e2e::Record { partition: 1, ..record(None, Some(b"1")) };
            write_records(&source.config(), topic, &[second]).unwrap();
        }
    }
    Broken { open }
}

/// Takes the cause away, where there is something to take away.
pub fn mend(way: Way, pair: &Pair, stream: &Stream, index: usize, broken: Broken) {
    let topic = &stream.topics()[index];
    match way {
        Way::CannotBeMade => {
            pair.at_source().delete_topic("hundred.collides").unwrap();
        }
        Way::WriteDenied => {
            acl("unacl", &pair.target.internal_bootstrap(), &denial(&format!("source.{topic}"), "WRITE"));
        }
        Way::ReadDenied => acl("unacl", &pair.source.internal_bootstrap(), &denial(topic, "READ")),
        Way::CannotGrow => {
            acl("unacl", &pair.target.internal_bootstrap(), &denial(&format!("source.{topic}"), "ALTER"));
        }
        Way::Hanging => {
            if let Some(producer) = broken.open {
                producer.abort_transaction(SOON).unwrap();
            }
        }
        _ => {}
    }
}

fn denial(topic: &str, operation: &str) -> String {
    format!("{USER},TOPIC,{topic},LITERAL,{operation},DENY")
}

fn acl(command: &str, bootstrap: &str, one: &str) {
    kafka_tool(command, bootstrap, &[one.to_owned()]);
}

/// Flips a byte in the last batch of a topic's log, then writes on: what is behind it is good.
fn flip_a_byte(pair: &Pair, stream: &Stream, index: usize) {
    let topic = &stream.topics()[index];
    let (source, folder) = (pair.at_source(), pair.source.folder());
    // The link copies what arrives within milliseconds. A batch that it has not read yet must be
    // there: the broker is frozen between the write and the flip.
    stream.mute(index, true);
    let big = record(Some(b"corrupt"), Some(&noise(40_000)));
    let broker = pair.source.broker(0).unwrap();
    pair.source.proxies().iter().for_each(|proxy| proxy.freeze(true));
    write_records(&source.config(), topic, &[big]).unwrap();
    broker.pause().unwrap();
    let log = fs::read_dir(folder.join(format!("data-1/{topic}-0"))).unwrap();
    let log = log.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "log"));
    let log = log.max().unwrap();
    let length = fs::metadata(&log).unwrap().len();
    let file = OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let at = length - 20_000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0xff], at).unwrap();
    broker.resume().unwrap();
    pair.source.proxies().iter().for_each(strait_test_cluster::Proxy::heal);
    stream.mute(index, false);
}

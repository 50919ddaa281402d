//! A flipped byte in the source's log.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use strait_e2e::{Record, TestClient, write_records};
use strait_test_cluster::{Cluster, Proxy};

use crate::support::{noise, record};

const VALUE_BYTES: usize = 40_000;

/// A damaged byte in the log of a partition's leader.
pub struct Damage {
    path: PathBuf,
    at: u64,
    flipped: u8,
}

impl Damage {
    /// Writes a record to partition 0 of a topic and flips a byte of its batch before the link can
    /// read it. `None` if the log is not as expected, since a broker is just down for example.
    pub fn make(cluster: &Cluster, client: &TestClient, topic: &str) -> Option<Self> {
        cluster.proxies().iter().for_each(|proxy| proxy.freeze(true));
        let made = Self::flip(cluster, client, topic);
        cluster.proxies().iter().for_each(Proxy::heal);
        made
    }

    fn flip(cluster: &Cluster, client: &TestClient, topic: &str) -> Option<Self> {
        // In front of what other tests make of it by size alone.
        let large = Record { partition: 0, ..record(Some(b"damaged"), Some(&noise(VALUE_BYTES))) };
        write_records(&client.config(), topic, &[large]).ok()?;
        let consumer: BaseConsumer = client.config().set("group.id", "strait-test-damage").create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
        let leader = metadata.topics().first()?.partitions().iter().find(|partition| partition.id() == 0)?.leader();
        let folder = cluster.folder().join(format!("data-{leader}/{topic}-0"));
        let files = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let path = files.filter(|path| path.extension().is_some_and(|end| end == "log")).max()?;
        // Records written behind it meanwhile are small: it is within the last part of the log.
        let bytes = fs::read(&path).ok()?;
        let part = noise(VALUE_BYTES);
        let needle = part.get(VALUE_BYTES / 2..VALUE_BYTES / 2 + 64)?;
        let found = bytes.windows(needle.len()).rposition(|window| window == needle)?;
        let at = u64::try_from(found).ok()?;
        let flipped = bytes.get(found)? ^ 0xff;
        write(&path, at, flipped)?;
        Some(Self { path, at, flipped })
    }

    /// Mends the byte, unless the broker has replaced that part of its log.
    pub fn mend(&self) {
        let mut now = [0];
        let read = File::open(&self.path).and_then(|file| file.read_exact_at(&mut now, self.at));
        if read.is_ok() && now[0] == self.flipped {
            write(&self.path, self.at, self.flipped ^ 0xff);
        }
    }
}

/// Writes in place: the broker has the file open.
fn write(path: &PathBuf, at: u64, byte: u8) -> Option<()> {
    File::options().write(true).open(path).ok()?.write_all_at(&[byte], at).ok()
}

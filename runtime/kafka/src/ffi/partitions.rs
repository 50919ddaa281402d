//! Lists of topic partitions with offsets.

use rdkafka_sys::bindings as b;

use super::{Code, FfiError, c_string};

/// A position to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Topic of the partition.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// Offset, or an [`OffsetSpec`] as a number.
    pub offset: i64,
    /// Leader epoch of the record before `offset`; negative where unknown.
    pub leader_epoch: i32,
}

impl Place {
    /// Returns a partition without a position.
    pub fn of(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition, offset: -1001, leader_epoch: -1 }
    }

    /// Returns the partitions of a topic that has so many, without positions.
    pub fn all_of(topic: &str, partitions: u32) -> impl Iterator<Item = Self> + use<'_> {
        (0..i32::try_from(partitions).unwrap_or(i32::MAX)).map(move |partition| Self::of(topic, partition))
    }
}

/// The kind of offset to list (values of the ListOffsets request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The start of the log.
    Earliest,
    /// The end of the log: last stable offset or high watermark, by isolation level.
    Latest,
    /// The first record at or after this time, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

impl OffsetSpec {
    pub(super) fn raw(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            // Negative numbers are special values.
            Self::Timestamp(ms) => ms.max(0),
        }
    }
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Topic of the partition.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// The offset; -1 where there is none.
    pub offset: i64,
    /// Error code of this partition.
    pub code: Code,
}

/// An owned `rd_kafka_topic_partition_list_t`.
pub(super) struct PartitionList(*mut b::rd_kafka_topic_partition_list_t);

impl PartitionList {
    pub(super) fn new(places: &[Place]) -> Result<Self, FfiError> {
        let size = std::ffi::c_int::try_from(places.len()).unwrap_or(0);
        // SAFETY: plain constructor.
        let list = Self(unsafe { b::rd_kafka_topic_partition_list_new(size) });
        for place in places {
            let name = c_string(&place.topic)?;
            // SAFETY: the list is live and copies the name; the element is ours to fill in.
            unsafe {
                let element = b::rd_kafka_topic_partition_list_add(list.0, name.as_ptr(), place.partition);
                if let Some(element) = element.as_mut() {
                    element.offset = place.offset;
                    if place.leader_epoch >= 0 {
                        b::rd_kafka_topic_partition_set_leader_epoch(element, place.leader_epoch);
                    }
                }
            }
        }
        Ok(list)
    }

    /// Sets what belongs to the offset of an element. No metadata is as good as empty metadata.
    pub(super) fn set_metadata(&self, index: usize, metadata: &[u8]) {
        if metadata.is_empty() {
            return;
        }
        // SAFETY: the list is live and has cnt elements. The copy is made by malloc, as librdkafka
        // frees it with the list, and is not null.
        unsafe {
            let Some(list) = self.0.as_ref().filter(|list| usize::try_from(list.cnt).is_ok_and(|cnt| index < cnt))
            else {
                return;
            };
            let copy = libc::malloc(metadata.len());
            if copy.is_null() {
                return;
            }
            std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast::<u8>(), metadata.len());
            let element = list.elems.add(index);
            (*element).metadata = copy;
            (*element).metadata_size = metadata.len();
        }
    }

    pub(super) fn raw(&self) -> *mut b::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub(super) fn listed(&self) -> Vec<Listed> {
        // SAFETY: the list is live and has cnt elements.
        unsafe {
            let Some(list) = self.0.as_ref() else {
                return Vec::new();
            };
            super::slice(list.elems.cast_const(), usize::try_from(list.cnt).unwrap_or(0))
                .iter()
                .map(|element| listed(element))
                .collect()
        }
    }
}

/// # Safety
/// `element` is live.
pub(super) unsafe fn listed(element: &b::rd_kafka_topic_partition_t) -> Listed {
    // SAFETY: fields of a live element.
    unsafe {
        Listed {
            topic: super::string(element.topic),
            partition: element.partition,
            offset: element.offset,
            code: super::code_at(&raw const element.err),
        }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { b::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

//! What the chain has said of the records of a batch so far: the canonical batch stays, patches lie over it.

use std::sync::Arc;

use strait_core::batch::{HeaderRef, RecordRef};
use strait_core::edit::{Content, OutRecord, Reject, Route};

/// What became of one record.
#[derive(Clone, Debug, Default)]
pub(super) enum Fate {
    #[default]
    Pass,
    Drop,
    Reject(Box<Reject>),
    /// A plugin broke on it, and its partition stops here.
    Halt(Box<Reject>),
    Change(Box<Patch>),
}

/// Name and nullable value.
pub(super) type Header = (Vec<u8>, Option<Vec<u8>>);

/// Changes to one record.
#[derive(Clone, Debug, Default)]
pub(super) struct Patch {
    /// Its topic within the chain, where it left the batch's.
    pub(super) topic: Option<Arc<str>>,
    pub(super) route: PatchRoute,
    pub(super) key: Content,
    pub(super) value: Content,
    pub(super) headers: Option<Vec<Header>>,
    pub(super) timestamp_ms: Option<i64>,
}

/// A route that may depend on what later plugins do to the key.
#[derive(Clone, Debug, Default)]
pub(super) enum PatchRoute {
    #[default]
    Keep,
    /// By the key, as it is at the end of the chain; a null key keeps the partition number.
    ByKey,
    Partition(i32),
    Hash(Vec<u8>),
}

/// A record as the next plugin sees it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) record: RecordRef<'a>,
    pub(super) patch: Option<&'a Patch>,
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn new(record: RecordRef<'a>, fate: &'a Fate) -> Self {
        let patch = match fate {
            Fate::Change(patch) => Some(&**patch),
            _ => None,
        };
        Self { record, patch }
    }

    #[inline]
    pub(super) fn key(&self) -> Option<&'a [u8]> {
        match self.patch {
            Some(patch) => patch.key.resolve(self.record.key),
            None => self.record.key,
        }
    }

    #[inline]
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        match self.patch {
            Some(patch) => patch.value.resolve(self.record.value),
            None => self.record.value,
        }
    }

    #[inline]
    pub(super) fn timestamp_ms(&self) -> i64 {
        self.patch.and_then(|p| p.timestamp_ms).unwrap_or(self.record.timestamp_ms)
    }

    #[inline]
    pub(super) fn each_header(&self, mut visit: impl FnMut(HeaderRef<'a>)) {
        if let Some(headers) = self.patch.and_then(|p| p.headers.as_ref()) {
            for (name, value) in headers {
                visit(HeaderRef { name, value: value.as_deref() });
            }
            return;
        }
        self.record.headers.iter().for_each(visit);
    }
}

impl Patch {
    /// Bytes that it holds besides the original's.
    pub(super) fn owned_bytes(&self) -> usize {
        let content = |content: &Content| match content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Original | Content::Null => 0,
        };
        let headers =
            self.headers.iter().flatten().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        content(&self.key) + content(&self.value) + headers.sum::<usize>()
    }

    /// The record to send; `topic` is its final one, where it left the batch's.
    pub(super) fn finish(self, record: RecordRef<'_>, topic: Option<Arc<str>>) -> OutRecord {
        let route = match self.route {
            PatchRoute::Keep => Route::Keep,
            PatchRoute::ByKey => match self.key.resolve(record.key) {
                Some(key) => Route::Hash(key.to_vec()),
                None => Route::Keep,
            },
            PatchRoute::Partition(partition) => Route::Partition(partition),
            PatchRoute::Hash(bytes) => Route::Hash(bytes),
        };
        OutRecord {
            topic,
            route,
            key: self.key,
            value: self.value,
            headers: self.headers,
            timestamp_ms: self.timestamp_ms,
        }
    }
}

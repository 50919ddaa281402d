//! A record as the next plugin sees it: the original with the edits of earlier plugins over it.

use strait_core::batch::{HeaderRef, RecordRef};
use strait_core::edit::{Disposition, OutRecord};

/// A record as the next plugin sees it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) record: RecordRef<'a>,
    edited: Option<&'a OutRecord>,
}

impl<'a> View<'a> {
    /// `disposition` is what earlier plugins left; `None` where the record passes unchanged.
    #[inline]
    pub(super) fn new(record: RecordRef<'a>, disposition: Option<&'a Disposition>) -> Self {
        let edited = match disposition {
            Some(Disposition::Replace(records)) => records.first(),
            _ => None,
        };
        Self { record, edited }
    }

    pub(super) fn of(record: RecordRef<'a>, edited: &'a OutRecord) -> Self {
        Self { record, edited: Some(edited) }
    }

    #[inline]
    pub(super) fn key(&self) -> Option<&'a [u8]> {
        match self.edited {
            Some(edited) => edited.key.resolve(self.record.key),
            None => self.record.key,
        }
    }

    #[inline]
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        match self.edited {
            Some(edited) => edited.value.resolve(self.record.value),
            None => self.record.value,
        }
    }

    #[inline]
    pub(super) fn timestamp_ms(&self) -> i64 {
        self.edited.and_then(|edited| edited.timestamp_ms).unwrap_or(self.record.timestamp_ms)
    }

    #[inline]
    pub(super) fn each_header(&self, mut visit: impl FnMut(HeaderRef<'a>)) {
        if let Some(headers) = self.edited.and_then(|edited| edited.headers.as_ref()) {
            for (name, value) in headers {
                visit(HeaderRef { name, value: value.as_deref() });
            }
            return;
        }
        self.record.headers.iter().for_each(visit);
    }
}

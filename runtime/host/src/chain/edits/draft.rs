//! A record under edit: what the edits since it was delivered, or since the last copy, amount to.

use strait_core::batch::RecordRef;
use strait_core::edit::{Content, Disposition, Header, OutRecord, Route};
use strait_core::topic::NAME_LENGTH_MAX;

use super::super::columns::Scene;
use super::super::slots::{Change, RecordSlot};
use super::super::view::View;
use super::Rules;
use crate::fields::{Doc, FieldEdit, Lens};
use crate::text::clean;

/// Reject code of the host: the plugin sends the record to a topic that is not allowed.
const EDIT_TOPIC: &str = "edit-topic";
/// Reject code of the host: the plugin gives the record something that its place cannot hold.
const EDIT_UNFIT: &str = "edit-unfit";

/// Why a record cannot be as the plugin wants it.
pub(super) struct Unfit {
    pub(super) code: &'static str,
    /// For an operator. A name is left out where it may be data.
    pub(super) text: String,
}

/// A record under edit.
#[derive(Default)]
pub(super) struct Draft<'a> {
    record: OutRecord,
    headers: Option<HeaderEdit>,
    fields: Option<FieldEdit<'a>>,
    is_routed: bool,
    is_value_set: bool,
}

/// The headers of a record under edit. Positions of those delivered stay valid while others are
/// removed.
pub(super) struct HeaderEdit {
    all: Vec<Option<Header>>,
    delivered: Vec<usize>,
}

impl<'a> Draft<'a> {
    /// Starts from the record as it was delivered.
    pub(super) fn new(slot: &RecordSlot) -> Self {
        let delivered = match &slot.disposition {
            Some(Disposition::Replace(records)) => records.first().cloned(),
            _ => None,
        };
        Self { record: delivered.unwrap_or_default(), ..Self::default() }
    }

    pub(super) fn finish(mut self, original: RecordRef<'_>) -> Result<Change, String> {
        if let Some(headers) = self.headers {
            self.record.headers = Some(headers.all.into_iter().flatten().collect());
        }
        if let Some(fields) = &self.fields {
            let value = View::of(original, &self.record).value().unwrap_or_default();
            self.record.value = Content::Bytes(fields.apply(value)?);
        }
        let is_value_new = self.is_value_set || self.fields.is_some();
        Ok(Change { disposition: Some(Disposition::Replace(vec![self.record])), is_value_new })
    }

    pub(super) fn set_key(&mut self, key: Content) {
        self.record.key = key;
    }

    pub(super) fn set_value(&mut self, value: Content) -> Result<(), String> {
        if self.fields.is_some() {
            return Err("it sets the value after a field of it".into());
        }
        self.is_value_set = true;
        self.record.value = value;
        Ok(())
    }

    /// Replaces an occurrence of a field, or removes it where there is no text.
    pub(super) fn set_field(
        &mut self,
        number: u32,
        text: Option<&'a [u8]>,
        scene: &Scene<'_>,
        slot: &RecordSlot,
    ) -> Result<(), String> {
        let (fields, doc, lens) = self.fields(scene, slot)?;
        fields.set(number, text, scene.docs, doc, lens)
    }

    pub(super) fn insert_field(
        &mut self,
        field: u32,
        text: &[u8],
        scene: &Scene<'_>,
        slot: &RecordSlot,
    ) -> Result<(), String> {
        let (fields, doc, lens) = self.fields(scene, slot)?;
        fields.insert(field, text, scene.docs, doc, lens)
    }

    fn fields<'s>(
        &mut self,
        scene: &Scene<'s>,
        slot: &RecordSlot,
    ) -> Result<(&mut FieldEdit<'a>, &'s Doc, &'s Lens), String> {
        if self.is_value_set {
            return Err("it edits a field after the whole value".into());
        }
        let (Some(lens), Some(doc)) = (scene.lens, scene.docs.get(slot.doc)) else {
            return Err("the value was not read as a document".into());
        };
        Ok((self.fields.get_or_insert_default(), doc, lens))
    }

    pub(super) fn set_timestamp(&mut self, timestamp_ms: i64) -> Result<(), Unfit> {
        if timestamp_ms < 0 {
            return Err(Unfit { code: EDIT_UNFIT, text: "a negative number is not a timestamp".into() });
        }
        self.record.timestamp_ms = Some(timestamp_ms);
        Ok(())
    }

    pub(super) fn set_partition(&mut self, number: u32) -> Result<(), Unfit> {
        let too_large = |_| Unfit { code: EDIT_UNFIT, text: "a number is too large for a partition".into() };
        let partition = i32::try_from(number).map_err(too_large)?;
        self.set_route(Route::Partition(partition));
        Ok(())
    }

    pub(super) fn hash_partition(&mut self, bytes: &[u8]) {
        self.set_route(Route::Hash(bytes.to_vec()));
    }

    fn set_route(&mut self, route: Route) {
        self.record.route = route;
        self.is_routed = true;
    }

    /// Sends the record to another topic.
    pub(super) fn set_topic(&mut self, bytes: &[u8], scene: &Scene<'_>, rules: &mut Rules<'_>) -> Result<(), Unfit> {
        let name = allowed_topic(bytes, scene, rules).map_err(|text| Unfit { code: EDIT_TOPIC, text })?;
        self.record.topic = Some(name.into());
        // A partition of the same answer stands, whether it comes before or after the topic.
        if !self.is_routed {
            self.record.route = Route::ByKey;
        }
        Ok(())
    }

    pub(super) fn headers(&mut self, scene: &Scene<'_>, original: RecordRef<'_>) -> &mut HeaderEdit {
        let Draft { record, headers, .. } = self;
        headers.get_or_insert_with(|| HeaderEdit::new(&View::of(original, record), scene))
    }
}

/// Returns the name of a topic to which a plugin may send a record.
fn allowed_topic<'n>(bytes: &'n [u8], scene: &Scene<'_>, rules: &mut Rules<'_>) -> Result<&'n str, String> {
    let shown = |name: &str| if rules.hides_data { String::new() } else { format!(" '{}'", clean(name, 256)) };
    // First: the patterns are the plugin's own, and take time in proportion to the name.
    if bytes.len() > NAME_LENGTH_MAX {
        return Err(format!("the topic has a name of {} bytes, {NAME_LENGTH_MAX} are allowed", bytes.len()));
    }
    let name = std::str::from_utf8(bytes).map_err(|_| "the topic has a name that is not UTF-8")?;
    let final_name = (rules.check_topic)(name);
    if let Err(error) = final_name {
        return Err(if rules.hides_data {
            "no link may write to a topic of that name".to_owned()
        } else {
            clean(&error, 512)
        });
    }
    if !scene.needs.output_topics.is_match(name) {
        return Err(format!("the topic{} is not among the plugin's own output-topics", shown(name)));
    }
    if rules.topics_allowed.is_some_and(|allowed| !allowed.is_match(name)) {
        return Err(format!("the topic{} is not among its output_topics in the link", shown(name)));
    }
    Ok(name)
}

impl HeaderEdit {
    fn new(view: &View<'_>, scene: &Scene<'_>) -> Self {
        let mut edit = Self { all: Vec::new(), delivered: Vec::new() };
        view.each_header(|header| {
            if scene.needs.headers.delivers(header.name) {
                edit.delivered.push(edit.all.len());
            }
            edit.all.push(Some((header.name.to_vec(), header.value.map(<[u8]>::to_vec))));
        });
        edit
    }

    fn slot(&mut self, occurrence: u32) -> Result<&mut Option<Header>, String> {
        let position = self.delivered.get(occurrence as usize);
        let slot = position.and_then(|position| self.all.get_mut(*position));
        slot.ok_or_else(|| format!("header {occurrence} of {} delivered", self.delivered.len()))
    }

    pub(super) fn set(&mut self, occurrence: u32, value: Option<Vec<u8>>) -> Result<(), String> {
        let header = self.slot(occurrence)?.as_mut();
        header.ok_or_else(|| format!("header {occurrence} was removed before"))?.1 = value;
        Ok(())
    }

    pub(super) fn remove(&mut self, occurrence: u32) -> Result<(), String> {
        match self.slot(occurrence)?.take() {
            Some(_) => Ok(()),
            None => Err(format!("header {occurrence} was removed before")),
        }
    }

    /// Appends a header whose name is the first bytes.
    pub(super) fn append(&mut self, name_length: u32, bytes: &[u8]) -> Result<(), String> {
        let Some((name, value)) = bytes.split_at_checked(name_length as usize) else {
            return Err(format!("a name of {name_length} bytes does not fit in {}", bytes.len()));
        };
        self.all.push(Some((name.to_vec(), Some(value.to_vec()))));
        Ok(())
    }

    pub(super) fn append_null(&mut self, name: &[u8]) {
        self.all.push(Some((name.to_vec(), None)));
    }
}

//! The implementation of the exported functions. Called only by [`crate::plugin!`].

use crate::{
    About, Action, Needs, Plugin, TopicPlan,
    bindings::strait::plugin::types as wit,
    record::{Columns, Cursor, Lists},
};
#[cfg(target_family = "wasm")]
use crate::{Level, log};

/// Option of a plan: what the plugin leaves of parts of records.
const PROTECTS: u32 = 1;
/// Option of a plan: 1 = values of other shapes count as parsed.
const SHAPES: u32 = 2;

const NOT_CONFIGURED: &str = "the plugin was called before it was configured";

#[must_use]
pub fn describe<P: Plugin>() -> wit::About {
    let About { name, version, description, config_schema, effects, fails_closed, reject_codes } = P::about();
    let options = Vec::new();
    wit::About { name, version, description, config_schema, effects, fails_closed, reject_codes, options }
}

pub fn configure<P: Plugin>(config: &str, link: &wit::LinkInfo) -> Result<P, Vec<wit::ConfigError>> {
    // A panic aborts the guest. Without the hook, the host could only report "unreachable".
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    P::configure(config, link)
}

/// Returns what a configured plugin has.
#[must_use]
pub fn ready<P: Plugin>(plugin: &P) -> wit::Ready {
    wit::Ready { counters: plugin.counters(), options: Vec::new() }
}

pub fn open_topic<P: Plugin>(plugin: Option<&mut P>, topic: &str, partitions: u32) -> Result<wit::TopicPlan, String> {
    let TopicPlan { name, needs, protects, lenient } = plugin.ok_or(NOT_CONFIGURED)?.open_topic(topic, partitions)?;
    let claims = protects.map(|claims| (PROTECTS, claims.into_bytes()));
    let shapes = lenient.then(|| (SHAPES, vec![1]));
    let options = claims.into_iter().chain(shapes).collect();
    Ok(wit::TopicPlan { name, needs: needs.map(wit::Needs::from), options })
}

impl From<Needs> for wit::Needs {
    fn from(needs: Needs) -> Self {
        let Needs { columns, header_names, all_headers, fields, effects, output_topics, value_bytes_max, lookback } =
            needs;
        Self {
            columns,
            header_names,
            all_headers,
            fields,
            effects,
            output_topics,
            value_max_bytes: value_bytes_max,
            lookback: lookback.map(|(records, millis)| wit::Lookback { records, millis }),
        }
    }
}

pub fn process<P: Plugin>(plugin: Option<&mut P>, batch: &wit::Batch) -> Result<wit::Edits, String> {
    let plugin = plugin.ok_or(NOT_CONFIGURED)?;
    let columns = Columns::new(batch)?;
    let mut edits = wit::Edits { ops: Vec::new(), data: Vec::new() };
    let mut cursor = Cursor::default();
    let mut lists = Lists::default();
    let mut codes = None;
    for index in 0..batch.count {
        let record = columns.next(&mut cursor, lists);
        // In a warm-up too: the plugins behind this one must see what it leaves.
        let action = plugin.on_record(&record);
        // A plugin is described only where it needs that.
        let codes = match &action {
            Action::RejectAs { .. } => &**codes.get_or_insert_with(|| P::about().reject_codes),
            _ => &[],
        };
        action.write(index, codes, &mut edits);
        lists = record.into_lists();
    }
    plugin.end_batch();
    Ok(edits)
}

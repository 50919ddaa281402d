//! What the exported functions do; called by [`crate::plugin!`] only.

use crate::{
    About, Level, Needs, Plugin, TopicPlan,
    bindings::strait::plugin::types as wit,
    log,
    record::{Columns, Cursor, Header},
};

const NOT_CONFIGURED: &str = "the plugin was called before it was configured";

#[must_use]
pub fn describe<P: Plugin>() -> wit::About {
    let About { name, version, description, config_schema, effects, fails_closed, counters, reject_codes } = P::about();
    wit::About { name, version, description, config_schema, effects, fails_closed, counters, reject_codes }
}

pub fn configure<P: Plugin>(config: &str, link: &wit::LinkInfo) -> Result<P, Vec<wit::ConfigError>> {
    // A panic aborts the guest; without this the host could only say "unreachable".
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    P::configure(config, link)
}

pub fn open_topic<P: Plugin>(plugin: Option<&mut P>, topic: &str, partitions: u32) -> Result<wit::TopicPlan, String> {
    let TopicPlan { name, needs } = plugin.ok_or(NOT_CONFIGURED)?.open_topic(topic, partitions)?;
    let needs = needs.map(|needs| {
        let Needs { columns, header_names, all_headers, effects, output_topics, value_bytes_max } = needs;
        wit::Needs {
            columns,
            header_names,
            all_headers,
            fields: Vec::new(),
            effects,
            output_topics,
            value_max_bytes: value_bytes_max,
            lookback: None,
        }
    });
    Ok(wit::TopicPlan { name, needs })
}

pub fn process<P: Plugin>(plugin: Option<&mut P>, batch: &wit::Batch) -> Result<wit::Edits, String> {
    let plugin = plugin.ok_or(NOT_CONFIGURED)?;
    let columns = Columns::new(batch)?;
    let mut edits = wit::Edits { ops: Vec::new(), data: Vec::new() };
    let mut cursor = Cursor::default();
    // One list for the headers of all records, so that a record costs no allocation.
    let mut headers: Vec<Header<'_>> = Vec::new();
    for index in 0..batch.count {
        let record = columns.next(&mut cursor, headers);
        plugin.on_record(&record).write(index, &mut edits);
        headers = record.into_headers();
        headers.clear();
    }
    Ok(edits)
}

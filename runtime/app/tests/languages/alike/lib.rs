//! Does what the header "do" of a record says. The same plugin exists in each language.

use serde::Deserialize;
use strait_plugin_sdk::{
    About, Action, Change, ConfigError, Counter, LinkInfo, Needs, Plugin, Record, TopicPlan, column, config_error,
    count, counter, expected_counter, plugin,
};

const LIST: u32 = 0;
const NAME: u32 = 1;
const ABSENT: u32 = 2;
const ALL: u32 = (1 << 10) - 1;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    mistake: bool,
    #[serde(default)]
    failure: bool,
    #[serde(default = "ten")]
    lookback: u32,
}

fn ten() -> u32 {
    10
}

struct Alike {
    config: Config,
    warmed: u32,
    ended: u32,
}

impl Plugin for Alike {
    fn about() -> About {
        About {
            name: "alike".into(),
            version: "1.0.0".into(),
            effects: ALL,
            fails_closed: true,
            reject_codes: vec!["odd".into(), "worse".into()],
            config_schema: r#"{"type":"object"}"#.into(),
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|error| vec![config_error("", error.to_string())])?;
        if config.mistake {
            return Err(vec![config_error("/mistake", "as asked")]);
        }
        Ok(Self { config, warmed: 0, ended: 0 })
    }

    fn counters(&self) -> Vec<Counter> {
        vec![expected_counter("seen", "rule-1"), counter("ended")]
    }

    fn open_topic(&mut self, topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        if self.config.failure {
            return Err("as asked".into());
        }
        if topic == "old" {
            return Ok(TopicPlan::ignore().named("new"));
        }
        let bare = Needs::columns(&[], ALL).headers(["do"]);
        if topic == "bare" {
            return Ok(TopicPlan::reads(bare));
        }
        let mut needs = bare
            .headers(["note"])
            .fields(["$.list[*]", "$.name", "$.absent"])
            .field_pointers()
            .output_topics(["elsewhere"])
            .and(column::OFFSET)
            .and(column::TIMESTAMP)
            .and(column::TIMESTAMP_TYPE)
            .and(column::ORIGIN)
            .and(column::KEY)
            .and(column::VALUE);
        if topic == "memory" {
            needs = needs.lookback(self.config.lookback, 0);
        }
        let plan = TopicPlan::reads(needs);
        if topic != "lenient" {
            return Ok(plan);
        }
        Ok(plan.lenient_shapes().protects(r#"[{"rule":"all","at":"value$['absent']","leaves":"nothing"}]"#))
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        self.warmed += u32::from(record.is_warm_up());
        let headers = record.headers();
        match headers.first().and_then(|header| header.value).unwrap_or_default() {
            b"see" => Change::new().add_header(b"seen", Some(self.seen(record).as_bytes())).into(),
            b"key" => Change::new().value(record.key()).into(),
            b"drop" => Action::Drop,
            b"reject" => Action::reject("worse", "why"),
            b"reject, by rule" => Action::reject_of(0, "odd", "why"),
            b"reject, unknown" => Action::reject("unknown", ""),
            b"field, unknown" => Change::new().field(record.field(3)[0].occurrence, b"1").into(),
            b"header, unknown" => Change::new().header(9, None).into(),
            b"remove, unknown" => Change::new().remove_header(9).into(),
            b"insert, unknown" => Change::new().insert_field(9, b"1").into(),
            b"count" => {
                count(1, 1);
                Action::Pass
            }
            b"count, unknown" => {
                count(2, 1);
                Action::Pass
            }
            b"parts" => Change::new()
                .key(Some(b"k2"))
                .value(Some(b"v2"))
                .header(1, Some(b"x"))
                .add_header(b"more", None)
                .add_header(b"most", Some(b"m"))
                .timestamp_ms(5)
                .topic("elsewhere")
                .partition_by(b"p")
                .into(),
            b"partition" => Change::new().key(None).remove_header(1).partition(0).into(),
            b"fields" => {
                let list = record.field(LIST);
                Change::new()
                    .field(list[0].occurrence, b"\"new\"")
                    .remove_field(list[1].occurrence)
                    .insert_field(ABSENT, b"{}")
                    .into()
            }
            b"copies" => Change::new().key(Some(b"one")).emit().value(None).emit().drop_original().into(),
            _ => Action::Pass,
        }
    }

    fn end_batch(&mut self) {
        self.ended += 1;
        count(0, 1);
    }
}

impl Alike {
    fn seen(&self, record: &Record<'_>) -> String {
        let is = |yes: bool| if yes { "yes" } else { "no" };
        let text = |bytes: Option<&[u8]>| bytes.map_or("null".into(), |b| String::from_utf8_lossy(b).into_owned());
        let mut seen = format!(
            "{}/{}@{} {} append={} origin={} warm={} again={} judged={} warmed={} ended={} key={} value={} list=",
            record.topic(),
            record.partition(),
            record.offset(),
            record.timestamp_ms(),
            is(record.timestamp_is_append_time()),
            record.origin().unwrap_or("null"),
            is(record.is_warm_up()),
            is(record.is_second_try()),
            is(record.value_state().is_judged()),
            self.warmed,
            self.ended,
            text(record.key()),
            text(record.value()),
        );
        for field in record.field(LIST) {
            let (pointer, json) = (text(Some(field.pointer)), text(Some(field.json)));
            seen += &format!("{}:{pointer}:{json};", field.occurrence);
        }
        seen += &format!(" name={} headers=", record.field_text(NAME).as_deref().unwrap_or("null"));
        for header in record.headers() {
            seen += &format!("{}={};", text(Some(header.name)), text(header.value));
        }
        seen
    }
}

plugin!(Alike);

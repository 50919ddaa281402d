// Does what the header "do" of a record says. The same plugin exists in each language.

import {
  About, Action, Change, ConfigError, count, Counter, DROP, isJudged, Link, member, Needs, Plugin, Record, Reject,
  TopicPlan,
} from "./sdk/strait";

const LIST = 0;
const NAME = 1;
const ABSENT = 2;
const ALL: u32 = (1 << 10) - 1;

function yes(value: bool): string { return value ? "yes" : "no"; }

function orNull(text: string | null): string { return text === null ? "null" : text; }

class Alike extends Plugin {
  private failure: bool = false;
  private lookback: u32 = 10;
  private warmed: i32 = 0;
  private ended: i32 = 0;

  about(): About {
    const about = new About();
    about.name = "alike";
    about.version = "1.0.0";
    about.effects = ALL;
    about.failsClosed = true;
    about.rejectCodes = ["odd", "worse"];
    about.configSchema = '{"type":"object"}';
    return about;
  }

  configure(config: string, link: Link): ConfigError | null {
    if (member(config, "mistake") == "true") return new ConfigError("/mistake", "as asked");
    this.failure = member(config, "failure") == "true";
    const lookback = member(config, "lookback");
    if (lookback !== null) this.lookback = U32.parseInt(lookback);
    return null;
  }

  counters(): Counter[] { return [new Counter("seen", "rule-1", true), new Counter("ended")]; }

  openTopic(topic: string, partitions: u32): TopicPlan | null {
    const plan = new TopicPlan();
    if (this.failure) plan.failure = "as asked";
    if (topic == "old") plan.name = "new";
    if (this.failure || topic == "old") return plan;
    const needs = new Needs();
    plan.needs = needs;
    needs.effects = ALL;
    needs.headers = ["do"];
    if (topic == "bare") return plan;
    needs.headers = ["do", "note"];
    needs.fields = ["$.list[*]", "$.name", "$.absent"];
    needs.fieldPointers = true;
    needs.outputTopics = ["elsewhere"];
    needs.offset = true;
    needs.timestamp = true;
    needs.timestampType = true;
    needs.origin = true;
    needs.key = true;
    needs.value = true;
    needs.valueState = true;
    if (topic == "memory") needs.lookbackRecords = this.lookback;
    if (topic == "lenient") {
      plan.lenientShapes = true;
      plan.protects = "[{\"rule\":\"all\",\"at\":\"value$['absent']\",\"leaves\":\"nothing\"}]";
    }
    return plan;
  }

  onRecord(record: Record): Action | null {
    if (record.isWarmUp) this.warmed++;
    const headers = record.headers;
    const what = headers.length > 0 ? orNull(headers[0].valueText) : "";
    if (what == "see") return new Change().addHeaderText("seen", this.seen(record));
    if (what == "key") return new Change().value(record.key);
    if (what == "drop") return DROP;
    if (what == "reject") return new Reject("worse", "why");
    if (what == "reject, by rule") return new Reject("odd", "why", 0);
    if (what == "reject, unknown") return new Reject("unknown");
    if (what == "field, unknown") return new Change().field(record.fields(3)[0], "1");
    if (what == "header, unknown") return new Change().header(9, null);
    if (what == "remove, unknown") return new Change().removeHeader(9);
    if (what == "insert, unknown") return new Change().insertField(9, "1");
    if (what == "count") count(1);
    if (what == "count, unknown") count(2);
    if (what == "parts") {
      const change = new Change().keyText("k2").valueText("v2").headerText(1, "x").addHeader("more", null);
      change.addHeaderText("most", "m").timestampMs(5).topic("elsewhere");
      return change.partitionBy(Uint8Array.wrap(String.UTF8.encode("p")));
    }
    if (what == "partition") return new Change().key(null).removeHeader(1).partition(0);
    if (what == "fields") {
      const places = record.fields(LIST);
      return new Change().field(places[0], '"new"').removeField(places[1]).insertField(ABSENT, "{}");
    }
    if (what == "copies") return new Change().keyText("one").emit().value(null).emit().dropOriginal();
    return null;
  }

  endBatch(): void {
    this.ended++;
    count(0);
  }

  private seen(record: Record): string {
    let places = "";
    const fields = record.fields(LIST);
    for (let at = 0; at < fields.length; at++) {
      places += `${fields[at].occurrence}:${orNull(fields[at].pointer)}:${fields[at].json};`;
    }
    let headers = "";
    const all = record.headers;
    for (let at = 0; at < all.length; at++) headers += `${all[at].name}=${orNull(all[at].valueText)};`;
    return `${record.topic}/${record.partition}@${record.offset} ${record.timestampMs} `
      + `append=${yes(record.timestampIsAppendTime)} origin=${orNull(record.origin)} warm=${yes(record.isWarmUp)} `
      + `again=${yes(record.isSecondTry)} judged=${yes(isJudged(record.valueState))} warmed=${this.warmed} `
      + `ended=${this.ended} key=${orNull(record.keyText)} value=${orNull(record.valueText)} list=${places} `
      + `name=${orNull(record.fieldText(NAME))} headers=${headers}`;
  }
}

export function plugin(): Plugin { return new Alike(); }

// Does what the header "do" of a record says. The same plugin exists in each language.

import { Change, ConfigError, DROP, Reject, count, plugin, text } from "strait-plugin";

const [LIST, NAME, ABSENT] = [0, 1, 2];
const ALL = (1 << 10) - 1;
const yes = (value) => (value ? "yes" : "no");

class Alike {
  static about = {
    name: "alike",
    version: "1.0.0",
    effects: ALL,
    failsClosed: true,
    rejectCodes: ["odd", "worse"],
    configSchema: { type: "object" },
  };

  constructor(config, link) {
    if (config.mistake) throw new ConfigError("/mistake", "as asked");
    this.config = config;
    this.warmed = 0;
    this.ended = 0;
  }

  counters() {
    return [{ name: "seen", rule: "rule-1", expected: true }, { name: "ended" }];
  }

  /** @returns {import("strait-plugin").TopicPlan} */
  openTopic(topic, partitions) {
    if (this.config.failure) throw new Error("as asked");
    if (topic === "old") return { name: "new" };
    if (topic === "bare") return { needs: { effects: ALL, headers: ["do"] } };
    const needs = {
      effects: ALL,
      headers: ["do", "note"],
      fields: ["$.list[*]", "$.name", "$.absent"],
      fieldPointers: true,
      outputTopics: ["elsewhere"],
      offset: true,
      timestamp: true,
      timestampType: true,
      origin: true,
      key: true,
      value: true,
      valueState: true,
      lookback: topic === "memory" ? { records: this.config.lookback ?? 10 } : undefined,
    };
    if (topic !== "lenient") return { needs };
    return { needs, lenientShapes: true, protects: [{ rule: "all", at: "value$['absent']", leaves: "nothing" }] };
  }

  onRecord(record) {
    this.warmed += record.isWarmUp ? 1 : 0;
    const headers = record.headers;
    switch (headers.length > 0 ? text(headers[0].value) : "") {
      case "see": return new Change().addHeader("seen", this.seen(record));
      case "key": return new Change().value(record.key);
      case "drop": return DROP;
      case "reject": return new Reject("worse", "why");
      case "reject, by rule": return new Reject("odd", "why", 0);
      case "reject, unknown": return new Reject("unknown");
      case "field, unknown": return new Change().fieldJson(record.fields(3)[0], "1");
      case "header, unknown": return new Change().header(9, null);
      case "remove, unknown": return new Change().removeHeader(9);
      case "insert, unknown": return new Change().insertField(9, 1);
      case "count": return count(1);
      case "count, unknown": return count(2);
      case "parts":
        return new Change().key("k2").value("v2").header(1, "x").addHeader("more", null).addHeader("most", "m")
          .timestampMs(5).topic("elsewhere").partitionBy("p");
      case "partition": return new Change().key(null).removeHeader(1).partition(0);
      case "fields": {
        const [first, second] = record.fields(LIST);
        return new Change().field(first, "new").removeField(second).insertField(ABSENT, {});
      }
      case "copies": return new Change().key("one").emit().value(null).emit().dropOriginal();
    }
  }

  endBatch() {
    this.ended++;
    count(0);
  }

  seen(record) {
    const places = record.fields(LIST).map((place) => `${place.occurrence}:${place.pointer}:${place.json};`).join("");
    const name = record.field(NAME);
    const headers = record.headers.map(({ name, value }) => `${text(name)}=${text(value)};`).join("");
    return `${record.topic}/${record.partition}@${record.offset} ${record.timestampMs} `
      + `append=${yes(record.timestampIsAppendTime)} origin=${record.origin} warm=${yes(record.isWarmUp)} `
      + `again=${yes(record.isSecondTry)} judged=${yes(record.isJudged)} warmed=${this.warmed} ended=${this.ended} `
      + `key=${record.keyText} value=${record.valueText} list=${places} `
      + `name=${typeof name === "string" ? name : "null"} headers=${headers}`;
  }
}

export const transform = plugin(Alike);

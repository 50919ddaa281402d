// Walks every path of the JavaScript SDK: what a record says in "do" is done to it, and what was read of it goes into a header.

import { Change, DROP, Effect, Reject, bytes, plugin, text } from "strait-plugin";

const ALL = Object.values(Effect).reduce((all, bit) => all | bit, 0);
const DO = 0;
const LIST = 1;
const ABSENT = 2;
const NAME = 3;
const HEADERS = ["shop", "note"];
/** One object for many records, as a plugin may keep it. */
const SHARED = new Change().key("shared").topic("shared");

const STEPS = {
  nothing: () => undefined,
  none: () => null,
  drop: () => DROP,
  shared: () => SHARED,
  empty: () => new Change(),
  reject: () => new Reject("odd"),
  "reject, reason": () => new Reject("worse", "größer als erlaubt"),
  "key, text": () => new Change().key("new-key"),
  "key, bytes": () => new Change().key(new Uint8Array([0, 255, 128])),
  "key, null": () => new Change().key(null),
  "key, empty": () => new Change().key(""),
  "key, no bytes": () => new Change().key(new Uint8Array(0)),
  "value, text": () => new Change().value("plain"),
  "value, not ASCII": () => new Change().value("Õun, 林檎, 🍎"),
  "value, bytes": () => new Change().value(bytes("Õun")),
  "value, null": () => new Change().value(null),
  "value, long": () => new Change().value("long ".repeat(200)),
  "value, half characters": () => new Change().key("k\ud83c").value("\udf4e, \ud83c"),
  "fields": (record) => {
    const change = new Change();
    for (const [at, place] of record.fields(LIST).entries()) {
      if (at === 0) change.field(place, { was: place.value });
      else if (at === 1) change.removeField(place);
      else change.fieldJson(place, `"${place.pointer}"`);
    }
    return change.insertField(ABSENT, ["ö", 1.5, null]);
  },
  "field, not ASCII": (record) => new Change().field(record.fields(NAME)[0], `${record.field(NAME)}, née Õ`),
  "field, taken out": (record) => new Change().removeField(record.fields(NAME)[0]),
  "headers": () => new Change().header(0, "eu-2").removeHeader(1),
  "header, null": () => new Change().header(0, null),
  "header, bytes": () => new Change().header(0, new Uint8Array([255])).header(1, "ö"),
  "headers, more": () => new Change().addHeader("a", "1").addHeader(bytes("b"), null).addHeader("ö", bytes("ü")),
  "timestamp": () => new Change().timestampMs(1767225600001),
  "timestamp, bigint": () => new Change().timestampMs(1767225600002n),
  "topic": () => new Change().topic("elsewhere"),
  "partition": () => new Change().partition(3),
  "partition by text": () => new Change().partitionBy("customer-1"),
  "partition by bytes": () => new Change().topic("elsewhere").partitionBy(new Uint8Array([1, 2, 200])),
  "mistakes": (record) => {
    const place = record.fields(NAME)[0];
    const mistakes = [
      (change) => change.key(undefined),
      (change) => change.value(undefined),
      (change) => change.field(place, undefined),
      (change) => change.fieldJson(place, undefined),
      (change) => change.insertField(ABSENT, undefined),
      (change) => change.header(0, undefined),
      (change) => change.addHeader("a", undefined),
      (change) => change.topic(undefined),
      (change) => change.partitionBy(undefined),
      () => record.field(HEADERS.length + NAME),
      () => record.fields(NAME + 1),
      () => record.fieldJson(-1),
      () => record.fieldJson("0"),
      () => record.fields(0.5),
      (change) => change.partition(undefined),
      (change) => change.removeHeader(undefined),
      (change) => change.header("0", "x"),
      (change) => change.insertField(undefined, 1),
    ];
    const told = mistakes.map((mistake) => {
      try {
        mistake(new Change());
        return "taken";
      } catch (error) {
        return `${error.name}: ${error.message}`;
      }
    });
    return new Change().value(told.join("\n"));
  },
  "copies": () => new Change().key("one").emit().key("two").value("zwei: ü").emit().topic("elsewhere"),
  "copies alone": () => new Change().key("one").emit().value(new Uint8Array([7])).emit().dropOriginal(),
};

class Paths {
  static about = {
    name: "paths",
    effects: ALL,
    rejectCodes: ["odd", "worse"],
    configSchema: { type: "object" },
  };

  openTopic(topic, partitions) {
    const needs = {
      effects: ALL,
      outputTopics: ["shared", "elsewhere"],
      offset: true,
      timestamp: true,
      key: true,
      value: true,
      valueState: true,
      fields: ["$.do", "$.list[*]", "$.absent", "$.name"],
      fieldPointers: true,
      headers: HEADERS,
    };
    return { needs };
  }

  onRecord(record) {
    const step = record.field(DO);
    const action = STEPS[step]?.(record);
    // Nothing may follow a drop.
    if (!(action instanceof Change) || action === SHARED || step === "copies alone") return action;
    const seen = {
      at: `${record.topic}/${record.partition}/${record.offset}`,
      time: record.timestampMs,
      key: record.keyText,
      keyBytes: record.key?.length,
      value: record.valueText?.length,
      valueBytes: record.value?.length,
      state: record.valueState,
      list: record.fields(LIST).map((place) => [place.occurrence, place.pointer, place.json]),
      name: record.fieldJson(NAME),
      absent: [record.fieldJson(ABSENT), record.field(ABSENT) === undefined],
      headers: record.headers.map(({ name, value }) => [text(name), text(value), value?.length]),
    };
    return action.addHeader("seen", JSON.stringify(seen));
  }
}

export const transform = plugin(Paths);

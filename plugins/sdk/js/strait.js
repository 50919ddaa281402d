// Write Strait plugins in JavaScript or TypeScript.
//
// A plugin is a class with onRecord, exported by `export const transform = plugin(MyPlugin)`. The host calls it once per batch;
// this file turns that into one call of onRecord per record and collects the answers. Nothing but what needs() names crosses
// the boundary. The layout of columns and edits is that of plugin.wit. The types are in strait.d.ts.

import { count as hostCount, log as hostLog } from "strait:plugin/host@0.1.0";

/** What a plugin may do: bits for `effects`. */
export const Effect = Object.freeze({
  DROP: 1 << 0, KEY: 1 << 1, VALUE: 1 << 2, FIELD: 1 << 3, HEADER: 1 << 4,
  TIMESTAMP: 1 << 5, TOPIC: 1 << 6, PARTITION: 1 << 7, EMIT: 1 << 8, REJECT: 1 << 9,
});

/** States of a value as a document, in the order of their numbers in column 7. */
const STATES = ["parsed", "null", "empty", "not-json", "not-utf8", "trailing", "name-twice", "too-deep"];
const NULL = 0xffffffff;
const EMPTY = new Uint8Array(0);

/** A mistake in the configuration: JSON Pointer into it, and a message. Throw it in the constructor. */
export class ConfigError extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

/** The record is left out. */
export const DROP = Object.freeze({ drop: true });

/** The record is refused: it goes to quarantine at the source. */
export class Reject {
  constructor(code, reason = "") {
    this.code = code;
    this.reason = reason;
  }
}

/** Changes to one record, in order; what they do not name stays. Text is written as UTF-8; null is null. */
export class Change {
  constructor() {
    this.edits = [];
  }
  key(key) { return this.add(1, 0, key); }
  value(value) { return this.add(2, 0, value); }
  field(field, value) { return this.add(3, field.occurrence, JSON.stringify(value)); }
  fieldJson(field, json) { return this.add(3, field.occurrence, json); }
  removeField(field) { return this.add(3, field.occurrence, null); }
  insertField(index, value) { return this.add(4, index, JSON.stringify(value)); }
  header(index, value) { return this.add(5, index, value); }
  removeHeader(index) { return this.add(6, index, EMPTY); }
  addHeader(name, value) {
    const nameBytes = bytes(name);
    if (value === null || value === undefined) return this.add(8, 0, nameBytes);
    return this.add(7, nameBytes.length, concat([nameBytes, bytes(value)]));
  }
  timestampMs(timestampMs) {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigInt64(0, BigInt(timestampMs), true);
    return this.add(9, 0, data);
  }
  topic(topic) { return this.add(10, 0, topic); }
  partition(partition) { return this.add(11, partition, EMPTY); }
  partitionBy(data) { return this.add(12, 0, data); }
  emit() { return this.add(14, 0, EMPTY); }
  dropOriginal() { return this.add(0, 0, EMPTY); }
  add(op, arg, data) {
    this.edits.push(op, arg, data === null || data === undefined ? null : bytes(data));
    return this;
  }
}

/** Columns of a batch, taken apart when first asked for. */
class Columns {
  constructor(batch) {
    this.data = batch.data;
    this.places = new Map();
    this.lists = new Map();
    const directory = batch.columns;
    for (let at = 0; at < directory.length; at += 3) {
      this.places.set(directory[at], [directory[at + 1], directory[at + 2]]);
    }
  }
  place(number, what) {
    const place = this.places.get(number);
    if (place === undefined) throw new Error(`the plugin asks for ${what} but its needs do not name it`);
    return place;
  }
  numbers(number, Kind, what) {
    let known = this.lists.get(number);
    if (known === undefined) {
      const [start, length] = this.place(number, what);
      // Columns start at multiples of 8, but the list itself may start anywhere.
      const copy = this.data.slice(start, start + length);
      known = new Kind(copy.buffer, copy.byteOffset, length / Kind.BYTES_PER_ELEMENT);
      this.lists.set(number, known);
    }
    return known;
  }
  /** Where each run starts in a column of bytes, from the column of its lengths, or which counts come before each place. */
  sums(number, what, dataNumber) {
    let known = this.lists.get(-number);
    if (known === undefined) {
      const lengths = this.numbers(number, Int32Array, what);
      known = new Uint32Array(lengths.length + 1);
      let sum = dataNumber === undefined ? 0 : this.place(dataNumber, what)[0];
      for (let at = 0; at < lengths.length; at++) {
        known[at] = sum;
        if (lengths[at] > 0) sum += lengths[at];
      }
      known[lengths.length] = sum;
      this.lists.set(-number, known);
    }
    return known;
  }
  run(lengths, data, what, at) {
    const starts = this.sums(lengths, what, data);
    const start = starts[at];
    const end = starts[at + 1];
    if (start === end && this.lists.get(lengths)[at] < 0) return null;
    return this.data.subarray(start, end);
  }
  pointer(at) {
    const place = this.places.get(11);
    if (place === undefined) return null;
    const counts = this.sums(8, "fields");
    const all = counts[counts.length - 1];
    const part = this.data.slice(place[0], place[0] + place[1]);
    const lengths = new Uint32Array(part.buffer, part.byteOffset, all);
    let start = 4 * all;
    for (let before = 0; before < at; before++) start += lengths[before];
    return text(part.subarray(start, start + lengths[at]));
  }
}

/** One record, as far as the plugin asked for it. Valid until onRecord returns. */
class Record {
  constructor(batch) {
    this.batch = batch;
    this.columns = new Columns(batch);
    // From the column itself: an instance that replaces a broken one is not asked about its topics again.
    this.fieldCount = (this.columns.places.get(8)?.[1] ?? 0) / 4 / batch.count;
    this.index = 0;
  }
  get topic() { return this.batch.topic; }
  get partition() { return this.batch.partition; }
  get offset() { return this.batch.baseOffset + BigInt(this.columns.numbers(1, Uint32Array, "offset")[this.index]); }
  get timestampMs() { return Number(this.columns.numbers(2, BigInt64Array, "timestamp")[this.index]); }
  get key() { return this.columns.run(3, 4, "key", this.index); }
  get keyText() { return text(this.key); }
  get value() { return this.columns.run(5, 6, "value", this.index); }
  get valueText() { return text(this.value); }
  get valueState() { return STATES[this.columns.numbers(7, Uint8Array, "valueState")[this.index]] ?? "unknown"; }
  /** JSON text of the first place where the path of this index matches, or null. */
  fieldJson(field) {
    const at = this.index * this.fieldCount + field;
    const counts = this.columns.sums(8, "fields");
    if (counts[at] === counts[at + 1]) return null;
    return text(this.columns.run(9, 10, "fields", counts[at]));
  }
  /** The same as a JavaScript value; undefined where it is absent. */
  field(field) {
    const json = this.fieldJson(field);
    return json === null ? undefined : JSON.parse(json);
  }
  /** Every place where the path of this index matches. */
  fields(field) {
    const base = this.index * this.fieldCount;
    const counts = this.columns.sums(8, "fields");
    const found = [];
    for (let at = counts[base + field]; at < counts[base + field + 1]; at++) {
      found.push(new Field(this.columns, at, at - counts[base]));
    }
    return found;
  }
  get headers() {
    const counts = this.columns.sums(12, "headers");
    const headers = [];
    for (let at = counts[this.index]; at < counts[this.index + 1]; at++) {
      headers.push({
        name: this.columns.run(13, 14, "headers", at),
        value: this.columns.run(15, 16, "headers", at),
      });
    }
    return headers;
  }
}

class Field {
  constructor(columns, at, occurrence) {
    this.columns = columns;
    this.at = at;
    this.occurrence = occurrence;
  }
  get json() { return text(this.columns.run(9, 10, "fields", this.at)); }
  get value() { return JSON.parse(this.json); }
  get pointer() { return this.columns.pointer(this.at); }
}

/** Writes to Strait's log: "trace", "debug", "info", "warn" or "error". At most 64 messages of 1 KiB a batch. */
export function log(level, message) { hostLog(level, message); }

/** Adds to a counter, by its index in `counters`. */
export function count(counter, delta = 1) { hostCount(counter, BigInt(delta)); }

/** What the component exports: `export const transform = plugin(MyPlugin)`. */
export function plugin(PluginClass) {
  const about = PluginClass.about;
  const codes = new Map((about.rejectCodes ?? []).map((code, index) => [code, index]));
  let instance = null;
  return {
    describe() {
      return {
        name: about.name,
        version: about.version ?? "0.1.0",
        description: about.description ?? "",
        configSchema: JSON.stringify(about.configSchema ?? { type: ["object", "null"] }),
        effects: about.effects ?? 0,
        failsClosed: about.failsClosed ?? false,
        counters: about.counters ?? [],
        rejectCodes: about.rejectCodes ?? [],
      };
    },
    configure(config, link) {
      try {
        instance = new PluginClass(JSON.parse(config), link);
      } catch (error) {
        if (error instanceof ConfigError) fail([{ path: error.path, message: error.message }]);
        throw error;
      }
    },
    openTopic(topic, partitions) {
      let plan;
      try {
        plan = instance.openTopic(topic, partitions) ?? {};
      } catch (error) {
        fail(words(error));
      }
      const needs = plan.needs ?? undefined;
      return { name: plan.name, needs: needs === undefined ? undefined : witNeeds(needs) };
    },
    process(batch) {
      try {
        return process(instance, codes, batch);
      } catch (error) {
        fail(words(error));
      }
    },
  };
}

function process(instance, codes, batch) {
  const record = new Record(batch);
  const ops = [];
  const parts = [];
  for (let index = 0; index < batch.count; index++) {
    record.index = index;
    const action = instance.onRecord(record);
    if (action === undefined || action === null) continue;
    if (action === DROP) {
      ops.push(index, 0, 0, 0);
    } else if (action instanceof Change) {
      const edits = action.edits;
      for (let at = 0; at < edits.length; at += 3) {
        const data = edits[at + 2];
        ops.push(index, edits[at], edits[at + 1], data === null ? NULL : data.length);
        if (data !== null) parts.push(data);
      }
    } else if (action instanceof Reject) {
      const code = codes.get(action.code);
      if (code === undefined) throw new Error(`'${action.code}' is none of the plugin's rejectCodes`);
      const reason = bytes(action.reason);
      ops.push(index, 13, code, reason.length);
      parts.push(reason);
    } else {
      throw new TypeError("onRecord must give nothing, DROP, a Change or a Reject");
    }
  }
  return { ops: new Uint32Array(ops), data: concat(parts) };
}

function witNeeds(needs) {
  const columns = [];
  if (needs.offset) columns.push(1);
  if (needs.timestamp) columns.push(2);
  if (needs.key) columns.push(3, 4);
  if (needs.value) columns.push(5, 6);
  if (needs.valueState) columns.push(7);
  if (needs.fields?.length) columns.push(8, 9, 10);
  if (needs.fieldPointers) columns.push(11);
  if (needs.headers?.length || needs.allHeaders) columns.push(12, 13, 14, 15, 16);
  return {
    columns: new Uint32Array(columns),
    headerNames: (needs.headers ?? []).map(bytes),
    allHeaders: needs.allHeaders ?? false,
    fields: needs.fields ?? [],
    effects: needs.effects ?? 0,
    outputTopics: needs.outputTopics ?? [],
    valueMaxBytes: needs.valueMaxBytes ?? 0,
    lookback: undefined,
  };
}

/** An error of the interface: its payload is what is thrown. */
function fail(payload) {
  throw payload;
}

function words(error) {
  return error instanceof Error ? `${error.name}: ${error.message}\n${error.stack ?? ""}` : String(error);
}

function concat(parts) {
  let length = 0;
  for (const part of parts) length += part.length;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** The same few texts are written again and again: topics, constants. */
const encoded = new Map();

/** Text as UTF-8; bytes as they are. */
export function bytes(data) {
  if (typeof data !== "string") return data;
  let known = encoded.get(data);
  if (known === undefined) {
    known = encoder.encode(data);
    if (encoded.size >= 256) encoded.clear();
    if (data.length <= 256) encoded.set(data, known);
  }
  return known;
}

/** Bytes as text; null stays null. What is not UTF-8 becomes U+FFFD. */
export function text(data) {
  return data === null ? null : decoder.decode(data);
}

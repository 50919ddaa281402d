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
    // Operation, argument and bytes of each edit. Texts stay texts: those of a batch are encoded together.
    this.edits = [];
  }
  key(key) { this.edits.push(1, 0, key); return this; }
  value(value) { this.edits.push(2, 0, value); return this; }
  field(field, value) { this.edits.push(3, field.occurrence, JSON.stringify(value)); return this; }
  fieldJson(field, json) { this.edits.push(3, field.occurrence, json); return this; }
  removeField(field) { this.edits.push(3, field.occurrence, null); return this; }
  insertField(index, value) { this.edits.push(4, index, JSON.stringify(value)); return this; }
  header(index, value) { this.edits.push(5, index, value); return this; }
  removeHeader(index) { this.edits.push(6, index, ""); return this; }
  addHeader(name, value) {
    const nameBytes = bytes(name);
    if (value === null || value === undefined) {
      this.edits.push(8, 0, name);
    } else if (typeof name === "string" && typeof value === "string" && nameBytes.length === name.length) {
      // After a name in ASCII no half of a character can meet its other half in the value.
      this.edits.push(7, nameBytes.length, name + value);
    } else {
      this.edits.push(7, nameBytes.length, concat([nameBytes, bytes(value)]));
    }
    return this;
  }
  timestampMs(timestampMs) {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigInt64(0, BigInt(timestampMs), true);
    this.edits.push(9, 0, data);
    return this;
  }
  topic(topic) { this.edits.push(10, 0, topic); return this; }
  partition(partition) { this.edits.push(11, partition, ""); return this; }
  partitionBy(data) { this.edits.push(12, 0, data); return this; }
  emit() { this.edits.push(14, 0, ""); return this; }
  dropOriginal() { this.edits.push(0, 0, ""); return this; }
}

/** A column of byte runs: where each starts in the batch's data, and the lengths as delivered, where -1 is a null. */
class Runs {
  constructor(lengths, starts) {
    this.lengths = lengths;
    this.starts = starts;
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
  /** Sums of a column of lengths or counts: what comes before each place, and last, all of it. */
  sums(number, what, from) {
    let known = this.lists.get(-number);
    if (known === undefined) {
      const lengths = this.numbers(number, Int32Array, what);
      const count = lengths.length;
      known = new Uint32Array(count + 1);
      let sum = from;
      for (let at = 0; at < count; at++) {
        known[at] = sum;
        const length = lengths[at];
        if (length > 0) sum += length;
      }
      known[count] = sum;
      this.lists.set(-number, known);
    }
    return known;
  }
  runs(number, what) {
    const starts = this.sums(number, what, this.place(number + 1, what)[0]);
    return new Runs(this.numbers(number, Int32Array, what), starts);
  }
  pointer(at) {
    const place = this.places.get(11);
    if (place === undefined) return null;
    const counts = this.sums(8, "fields", 0);
    const all = counts[counts.length - 1];
    const part = this.data.slice(place[0], place[0] + place[1]);
    const lengths = new Uint32Array(part.buffer, part.byteOffset, all);
    let start = 4 * all;
    for (let before = 0; before < at; before++) start += lengths[before];
    return text(part.subarray(start, start + lengths[at]));
  }
}

/**
 * One record, as far as the plugin asked for it. Valid until onRecord returns.
 *
 * The engine interprets: a call costs as much as ten other steps, and each step is paid per record. So what is used for most
 * records is written out in place, and what it needs of a batch is found once and kept in members.
 */
class Record {
  constructor(batch) {
    this.index = 0;
    this.data = batch.data;
    this.keys = undefined;
    this.values = undefined;
    this.fieldRuns = undefined;
    this.fieldSums = undefined;
    this.headerRuns = undefined;
    this.batch = batch;
    this.columns = new Columns(batch);
    // From the column itself: an instance that replaces a broken one is not asked about its topics again.
    this.fieldCount = (this.columns.places.get(8)?.[1] ?? 0) / 4 / batch.count;
  }
  get topic() { return this.batch.topic; }
  get partition() { return this.batch.partition; }
  get offset() { return this.batch.baseOffset + BigInt(this.columns.numbers(1, Uint32Array, "offset")[this.index]); }
  get timestampMs() { return Number(this.columns.numbers(2, BigInt64Array, "timestamp")[this.index]); }
  get key() { return run(this.data, this.keys ??= this.columns.runs(3, "key"), this.index); }
  get keyText() {
    const { lengths, starts } = this.keys ??= this.columns.runs(3, "key");
    const at = this.index;
    if (lengths[at] < 0) return null;
    return decoder.decode(this.data.subarray(starts[at], starts[at + 1]));
  }
  get value() { return run(this.data, this.values ??= this.columns.runs(5, "value"), this.index); }
  get valueText() { return text(this.value); }
  get valueState() { return STATES[this.columns.numbers(7, Uint8Array, "valueState")[this.index]] ?? "unknown"; }
  /** JSON text of the first place where the path of this index matches, or null. */
  fieldJson(field) {
    const counts = this.fieldSums ?? this.openFields();
    const at = this.index * this.fieldCount + field;
    const place = counts[at];
    if (place === counts[at + 1]) return null;
    const starts = this.fieldRuns.starts;
    return decoder.decode(this.data.subarray(starts[place], starts[place + 1]));
  }
  /** The same as a JavaScript value; undefined where it is absent. */
  field(field) {
    const counts = this.fieldSums ?? this.openFields();
    const at = this.index * this.fieldCount + field;
    const place = counts[at];
    if (place === counts[at + 1]) return undefined;
    const starts = this.fieldRuns.starts;
    return JSON.parse(decoder.decode(this.data.subarray(starts[place], starts[place + 1])));
  }
  /** Every place where the path of this index matches. */
  fields(field) {
    const counts = this.fieldSums ?? this.openFields();
    const base = this.index * this.fieldCount;
    const end = counts[base + field + 1];
    const found = [];
    for (let at = counts[base + field]; at < end; at++) found.push(new Field(this, at, at - counts[base]));
    found[ITERATOR] = eachField;
    return found;
  }
  openFields() {
    const counts = this.columns.sums(8, "fields", 0);
    this.fieldRuns = this.columns.runs(9, "fields");
    return this.fieldSums = counts;
  }
  get headers() {
    const counts = this.columns.sums(12, "headers", 0);
    const [names, values] = this.headerRuns ??= [this.columns.runs(13, "headers"), this.columns.runs(15, "headers")];
    const headers = [];
    for (let at = counts[this.index]; at < counts[this.index + 1]; at++) {
      headers.push({ name: run(this.data, names, at), value: run(this.data, values, at) });
    }
    return headers;
  }
}

// An array's own iterator takes the engine three times as long: 2 microseconds more for each record with one field.
const ITERATOR = Symbol.iterator;
const nextField = {
  value() {
    const at = this.at++;
    return at < this.fields.length ? { value: this.fields[at], done: false } : { value: undefined, done: true };
  },
};
function FieldIterator(fields) {
  this.fields = fields;
  this.at = 0;
}
FieldIterator.prototype = Object.create(Object.getPrototypeOf(Object.getPrototypeOf([][ITERATOR]())), { next: nextField });
function eachField() { return new FieldIterator(this); }

class Field {
  constructor(record, at, occurrence) {
    this.record = record;
    this.at = at;
    this.occurrence = occurrence;
  }
  get json() { return text(run(this.record.data, this.record.fieldRuns, this.at)); }
  get value() { return JSON.parse(this.json); }
  get pointer() { return this.record.columns.pointer(this.at); }
}

function run(data, runs, at) {
  return runs.lengths[at] < 0 ? null : data.subarray(runs.starts[at], runs.starts[at + 1]);
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
  const answer = new Answer();
  const count = batch.count;
  for (let index = 0; index < count; index++) {
    record.index = index;
    const action = instance.onRecord(record);
    if (action === undefined || action === null) continue;
    // Comparing constructors costs less than instanceof, which is asked where they differ.
    if (action.constructor === Change || action instanceof Change) {
      const edits = action.edits;
      const end = edits.length;
      for (let at = 0; at < end; at += 3) {
        const data = edits[at + 2];
        if (typeof data === "string") {
          answer.texts += data;
          answer.ops.push(index, edits[at], edits[at + 1], data.length);
        } else {
          answer.add(index, edits[at], edits[at + 1], data);
        }
      }
    } else if (action === DROP) {
      answer.add(index, 0, 0, "");
    } else if (action instanceof Reject) {
      const code = codes.get(action.code);
      if (code === undefined) throw new Error(`'${action.code}' is none of the plugin's rejectCodes`);
      answer.add(index, 13, code, action.reason);
    } else {
      throw new TypeError("onRecord must give nothing, DROP, a Change or a Reject");
    }
  }
  return answer.finish();
}

/** The edits of a batch. All texts are one until the end, when they are encoded in one call. */
class Answer {
  constructor() {
    // Four numbers per edit; where its data is a text, the last is the text's own length and not yet that of its bytes.
    this.ops = [];
    this.texts = "";
    // Edits whose data is bytes, in order: where the edit is in `ops`, and the bytes.
    this.binary = [];
  }
  add(index, op, arg, data) {
    if (typeof data === "string") {
      this.texts += data;
      this.ops.push(index, op, arg, data.length);
    } else if (data === null || data === undefined) {
      this.ops.push(index, op, arg, NULL);
    } else {
      if (data.length > 0) this.binary.push([this.ops.length, data]);
      this.ops.push(index, op, arg, data.length);
    }
  }
  finish() {
    const ops = new Uint32Array(this.ops);
    const data = encoder.encode(this.texts);
    // As many bytes as UTF-16 units: each unit is one byte, and so each text as long as its bytes.
    if (data.length === this.texts.length && this.binary.length === 0) return { ops, data };
    return { ops, data: concat(this.parts(ops)) };
  }
  /** The data of each edit by itself: halves of a character at the ends of two texts must not become one. */
  parts(ops) {
    const parts = [];
    let start = 0;
    let next = 0;
    for (let at = 0; at < ops.length; at += 4) {
      if (ops[at + 3] === NULL) continue;
      if (next < this.binary.length && this.binary[next][0] === at) {
        parts.push(this.binary[next++][1]);
        continue;
      }
      const end = start + ops[at + 3];
      const part = bytes(this.texts.substring(start, end));
      start = end;
      ops[at + 3] = part.length;
      parts.push(part);
    }
    return parts;
  }
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

// SDK for Strait plugins in JavaScript and TypeScript.
//
// A plugin is a class with onRecord, exported by `export const transform = plugin(MyPlugin)`. The
// host calls it once per batch; this file turns that into one call of onRecord per record and
// collects the results. Only what `needs` requests is copied into the guest. plugin.wit defines the
// layout of columns and edits. The types are in strait.d.ts. testing.mjs runs a plugin in Node.js.

import host from "strait:plugin/host@0.2.0";
import "./globals.js";
import { decode, decodeLatin, encode, encodeAscii, isAscii, latin } from "./utf8.js";

/** Effects of a plugin: bits for `effects`. */
export const Effect = Object.freeze({
  DROP: 1 << 0, KEY: 1 << 1, VALUE: 1 << 2, FIELD: 1 << 3, HEADER: 1 << 4,
  TIMESTAMP: 1 << 5, TOPIC: 1 << 6, PARTITION: 1 << 7, EMIT: 1 << 8, REJECT: 1 << 9,
});

/** States of a value as a document, in the order of their numbers in column 7. */
const STATES = [
  "parsed", "null", "empty", "not-json", "not-utf8", "trailing", "name-twice", "too-deep", "wrong-shape", "no-schema",
  "other-schema", "sealed",
];
/** Options of a link and of a plan. */
const [RESIDENCY, PROTECTS, SHAPES] = [2, 1, 2];
/** The length of a null, 2^32 - 1: the engine's binding treats 32-bit numbers as signed. */
const NULL = -1;

/**
 * A mistake in the configuration: a JSON Pointer into it, and a message. Throw it in the
 * constructor.
 */
export class ConfigError extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

/** Drops the record. */
export const DROP = Object.freeze({ drop: true });

/** Rejects the record: it goes to quarantine on the source. */
export class Reject {
  constructor(code, reason = "", counter = null) {
    this.code = code;
    this.reason = reason;
    this.counter = counter;
  }
}

/** A forgotten result must not become Kafka's null, which deletes in a compacted topic. */
function given(what, value) {
  if (value === undefined) throw new TypeError(`the ${what} is undefined; null stands for no ${what}`);
  return value;
}

/** Everything else would become 0 in an edit. */
function whole(what, number) {
  if (!Number.isInteger(number) || number < 0) throw new TypeError(`the ${what} is ${number}, not a number from 0 on`);
  return number;
}

function json(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError("the value of a field is undefined or a function; removeField removes it");
  return text;
}

/**
 * Changes to one record, in order. Parts that no change names stay. Text is written as UTF-8; null
 * is null.
 */
export class Change {
  constructor() {
    // Operation, argument and bytes of each edit. Texts stay texts; a batch encodes them together.
    this.edits = [];
  }
  key(key) { this.edits.push(1, 0, given("key", key)); return this; }
  value(value) { this.edits.push(2, 0, given("value", value)); return this; }
  field(field, value) { this.edits.push(3, field.occurrence, json(value)); return this; }
  fieldJson(field, text) { this.edits.push(3, field.occurrence, given("field", text)); return this; }
  removeField(field) { this.edits.push(3, field.occurrence, null); return this; }
  insertField(index, value) { this.edits.push(4, whole("index of a field", index), json(value)); return this; }
  header(index, value) { this.edits.push(5, whole("index of a header", index), given("header", value)); return this; }
  removeHeader(index) { this.edits.push(6, whole("index of a header", index), ""); return this; }
  addHeader(name, value) {
    const nameBytes = bytes(name);
    if (given("header", value) === null) {
      this.edits.push(8, 0, name);
    } else if (typeof name === "string" && typeof value === "string" && nameBytes.length === name.length) {
      // After an ASCII name, no lone surrogate can combine with one in the value.
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
  topic(topic) { this.edits.push(10, 0, given("topic", topic)); return this; }
  partition(partition) { this.edits.push(11, whole("partition", partition), ""); return this; }
  partitionBy(data) { this.edits.push(12, 0, given("data", data)); return this; }
  emit() { this.edits.push(14, 0, ""); return this; }
  dropOriginal() { this.edits.push(0, 0, ""); return this; }
}

/**
 * A column of byte strings. Its text is decoded once and then cut: cheaper than any call per
 * record.
 */
class Runs {
  constructor(data, lengths, starts) {
    this.data = data;
    /** Lengths as delivered; -1 is a null. */
    this.lengths = lengths;
    this.starts = starts;
    /** The whole column, one character per byte. */
    this.whole = undefined;
    this.ascii = false;
  }
  bytes(at) {
    return this.lengths[at] < 0 ? null : this.data.subarray(this.starts[at], this.starts[at + 1]);
  }
  text(at) {
    if (this.lengths[at] < 0) return null;
    if (this.whole === undefined) {
      this.whole = latin(this.data);
      this.ascii = isAscii(this.data);
    }
    const piece = this.whole.substring(this.starts[at], this.starts[at + 1]);
    return this.ascii ? piece : decodeLatin(piece);
  }
}

/** Columns of a batch, decoded on first access. */
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
    if (place === undefined) throw new Error(`the plugin reads ${what}, but its needs do not request it`);
    return place;
  }
  numbers(number, Kind, what) {
    let known = this.lists.get(number);
    if (known === undefined) {
      const [start, length] = this.place(number, what);
      // Columns start at multiples of 8, but the list itself can start anywhere.
      const copy = this.data.slice(start, start + length);
      known = new Kind(copy.buffer, copy.byteOffset, length / Kind.BYTES_PER_ELEMENT);
      this.lists.set(number, known);
    }
    return known;
  }
  /** Prefix sums of a column of lengths or counts. The last one is the total. */
  sums(number, what) {
    let known = this.lists.get(-number);
    if (known === undefined) {
      const lengths = this.numbers(number, Int32Array, what);
      const count = lengths.length;
      known = new Int32Array(count + 1);
      let sum = 0;
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
  /** Returns the column of bytes that belongs to a column of lengths. */
  runs(number, what) {
    const lengths = this.numbers(number, Int32Array, what);
    const [start, length] = this.place(number + 1, what);
    return new Runs(this.data.subarray(start, start + length), lengths, this.sums(number, what));
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

/**
 * A record, with the parts that the plugin requested. Valid until onRecord returns. Caches what it
 * reads of the batch.
 */
class Record {
  constructor(batch) {
    this.index = 0;
    this.keys = undefined;
    this.values = undefined;
    this.fieldRuns = undefined;
    this.fieldSums = undefined;
    this.headerRuns = undefined;
    this.batch = batch;
    this.columns = new Columns(batch);
    // From the column itself: openTopic is not called again on an instance that replaces a broken
    // one.
    this.fieldCount = (this.columns.places.get(8)?.[1] ?? 0) / 4 / batch.count;
  }
  get topic() { return this.batch.topic; }
  get partition() { return this.batch.partition; }
  get isWarmUp() { return (this.batch.mode & 1) !== 0; }
  get isSecondTry() { return (this.batch.mode & 2) !== 0; }
  get offset() { return BigInt(this.batch.baseOffset) + BigInt(this.columns.numbers(1, Uint32Array, "offset")[this.index]); }
  get timestampMs() { return Number(this.columns.numbers(2, BigInt64Array, "timestamp")[this.index]); }
  get timestampIsAppendTime() { return this.columns.numbers(17, Uint8Array, "timestampType")[this.index] === 1; }
  get origin() { return this.batch.origins[this.columns.numbers(18, Uint32Array, "origin")[this.index]] ?? null; }
  get key() { return (this.keys ??= this.columns.runs(3, "key")).bytes(this.index); }
  get keyText() { return (this.keys ??= this.columns.runs(3, "key")).text(this.index); }
  get value() { return (this.values ??= this.columns.runs(5, "value")).bytes(this.index); }
  get valueText() { return (this.values ??= this.columns.runs(5, "value")).text(this.index); }
  get valueState() { return STATES[this.columns.numbers(7, Uint8Array, "valueState")[this.index]] ?? "unknown"; }
  get isJudged() { return ["parsed", "null"].includes(this.valueState); }
  /** Returns the JSON text of the first place where the path at this index matches, or null. */
  fieldJson(field) {
    const counts = this.fieldSums ?? this.openFields();
    if (!Number.isInteger(field) || field < 0 || field >= this.fieldCount) this.unknownField(field);
    const at = this.index * this.fieldCount + field;
    const place = counts[at];
    return place === counts[at + 1] ? null : this.fieldRuns.text(place);
  }
  /** Returns the same as a JavaScript value, or undefined if it is missing. */
  field(field) {
    const json = this.fieldJson(field);
    return json === null ? undefined : JSON.parse(json);
  }
  /** Returns every place where the path at this index matches. */
  fields(field) {
    const counts = this.fieldSums ?? this.openFields();
    if (!Number.isInteger(field) || field < 0 || field >= this.fieldCount) this.unknownField(field);
    const base = this.index * this.fieldCount;
    const end = counts[base + field + 1];
    const found = [];
    for (let at = counts[base + field]; at < end; at++) found.push(new Field(this, at, at - counts[base]));
    return found;
  }
  /** The places of another record would follow. */
  unknownField(field) {
    throw new RangeError(`field ${field} is read, and needs.fields of this topic names ${this.fieldCount}`);
  }
  openFields() {
    const counts = this.columns.sums(8, "fields");
    this.fieldRuns = this.columns.runs(9, "fields");
    return this.fieldSums = counts;
  }
  get headers() {
    const counts = this.columns.sums(12, "headers");
    const [names, values] = this.headerRuns ??= [this.columns.runs(13, "headers"), this.columns.runs(15, "headers")];
    const headers = [];
    for (let at = counts[this.index]; at < counts[this.index + 1]; at++) {
      headers.push({ name: names.bytes(at), value: values.bytes(at) });
    }
    return headers;
  }
}

class Field {
  constructor(record, at, occurrence) {
    this.record = record;
    this.at = at;
    this.occurrence = occurrence;
  }
  get json() { return this.record.fieldRuns.text(this.at); }
  get value() { return JSON.parse(this.json); }
  get pointer() { return this.record.columns.pointer(this.at); }
}

/**
 * Writes to Strait's log: "trace", "debug", "info", "warn" or "error". At most 64 messages of 1 KiB
 * per batch.
 */
export function log(level, message) { host.log(level, String(message).toWellFormed()); }

/** Adds to the counter at an index of `counters()`. */
export function count(counter, delta = 1) { host.count(counter, Number(delta)); }

// Before `configure`, the plugin is being built and there is no host yet.
let running = false;
const said = (level) => (...words) => { if (running) log(level, words.map(String).join(" ")); };
globalThis.console ??= {
  trace: said("trace"), debug: said("debug"), log: said("info"), info: said("info"), warn: said("warn"), error: said("error"),
};

/** Returns the export of the component: `export const transform = plugin(MyPlugin)`. */
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
        rejectCodes: about.rejectCodes ?? [],
        options: [],
      };
    },
    configure(config, link) {
      running = true;
      try {
        const { sourceRegion, targetRegion, options, ...rest } = link;
        const demandsResidency = options.some(([number, value]) => number === RESIDENCY && value[0] === 1);
        // Missing values are null in the interface and undefined in strait.d.ts.
        const regions = { sourceRegion: sourceRegion ?? undefined, targetRegion: targetRegion ?? undefined };
        instance = new PluginClass(JSON.parse(config), { ...rest, ...regions, demandsResidency });
        const counters = instance.counters?.() ?? [];
        const lifted = counters.map(({ name, rule = "", expected = false }) => ({ name, rule, expected }));
        return { counters: lifted, options: [] };
      } catch (error) {
        const told = error instanceof ConfigError;
        fail([{ path: told ? error.path : "", message: told ? error.message.toWellFormed() : words(error) }]);
      }
    },
    openTopic(topic) {
      let plan;
      try {
        plan = instance.openTopic(topic.name, topic.partitions) ?? {};
      } catch (error) {
        fail(words(error));
      }
      const needs = plan.needs ?? null;
      return { name: plan.name ?? null, needs: needs === null ? null : witNeeds(needs), options: planOptions(plan) };
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
    if (action instanceof Change) {
      const edits = action.edits;
      const end = edits.length;
      for (let at = 0; at < end; at += 3) answer.add(index, edits[at], edits[at + 1], edits[at + 2]);
    } else if (action === DROP) {
      answer.add(index, 0, 0, "");
    } else if (action instanceof Reject) {
      const code = codes.get(action.code);
      if (code === undefined) throw new Error(`'${action.code}' is not one of the plugin's rejectCodes`);
      if (action.counter !== null) answer.add(index, 15, action.counter, "");
      answer.add(index, 13, code, action.reason);
    } else {
      throw new TypeError("onRecord must return nothing, DROP, a Change or a Reject");
    }
  }
  instance.endBatch?.();
  return answer.finish();
}

/**
 * The edits of a batch. ASCII texts are encoded together at the end, because their length is known
 * before.
 */
class Answer {
  constructor() {
    this.ops = [];
    /** The data of each edit with data, in order. */
    this.parts = [];
    this.texts = true;
  }
  add(index, op, arg, data) {
    if (data === null || data === undefined) {
      this.ops.push(index, op, arg | 0, NULL);
      return;
    }
    this.ops.push(index, op, arg | 0, data.length);
    this.parts.push(data);
    if (typeof data !== "string") this.texts = false;
  }
  finish() {
    const ops = this.ops;
    const data = this.texts ? encodeAscii(this.parts.join("")) : null;
    if (data !== null) return { ops, data };
    const parts = this.parts.map(bytes);
    let next = 0;
    for (let at = 3; at < ops.length; at += 4) {
      if (ops[at] !== NULL) ops[at] = parts[next++].length;
    }
    return { ops, data: concat(parts) };
  }
}

function planOptions(plan) {
  const options = [];
  if (plan.protects) options.push([PROTECTS, encode(JSON.stringify(plan.protects))]);
  if (plan.lenientShapes) options.push([SHAPES, new Uint8Array([1])]);
  return options;
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
  if (needs.timestampType) columns.push(17);
  if (needs.origin) columns.push(18);
  return {
    columns,
    headerNames: (needs.headers ?? []).map(bytes),
    allHeaders: needs.allHeaders ?? false,
    fields: needs.fields ?? [],
    effects: needs.effects ?? 0,
    outputTopics: needs.outputTopics ?? [],
    valueMaxBytes: needs.valueMaxBytes ?? 0,
    lookback: needs.lookback ? { records: needs.lookback.records, millis: Number(needs.lookback.millis ?? 0) } : null,
  };
}

/** Throws an error of the interface: the payload itself is thrown. */
function fail(payload) {
  throw payload;
}

function words(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}\n${error.stack ?? ""}` : String(error);
  // The interface requires strings to be strings.
  return text.toWellFormed();
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

/** Cache of encoded texts: the same few (topics, constants) are written again and again. */
const encoded = new Map();

/** Returns text as UTF-8, and bytes as they are. */
export function bytes(data) {
  if (typeof data !== "string") return data;
  let known = encoded.get(data);
  if (known === undefined) {
    known = encode(data);
    if (encoded.size >= 256) encoded.clear();
    if (data.length <= 256) encoded.set(data, known);
  }
  return known;
}

/** Returns bytes as text; null stays null. Invalid UTF-8 becomes U+FFFD. */
export function text(data) {
  return data === null ? null : decode(data);
}

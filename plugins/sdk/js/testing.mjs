// Runs a plugin in Node.js, without Wasm and without a host, for unit tests: records in, edits out.
//
//   import { Tester } from "./sdk/testing.mjs";
//   import { transform } from "./plugin.js";
//   assert.deepEqual(new Tester(transform, {}).process({ key: "test-1" }), ["0 drop"]);
//
// Run them with: node --import ./sdk/testing.mjs --test
//
// Columns are packed by the layout in plugin.wit, as far as the plugin's needs request them. Fields
// are given with each record, because finding them in a value is the host's work.

import { register } from "node:module";

/** Finds the SDK for "strait-plugin", and stand-ins for the host and for the engine's globals. */
const HOOKS = `
  const NAMES = {
    "strait-plugin": new URL("strait.js", SDK).href,
    "strait:plugin/host@0.2.0": "data:text/javascript,export default globalThis.straitHost",
    "./globals.js": "data:text/javascript,",
  };
  export async function resolve(name, context, next) {
    if (name in NAMES) return { url: NAMES[name], format: "module", shortCircuit: true };
    const found = await next(name, context);
    const isOurs = found.url.startsWith("file:") && found.url.endsWith(".js") && !found.url.includes("/node_modules/");
    return isOurs ? { ...found, format: "module" } : found;
  }`;

/** Messages and counts since the process began. */
export const logs = globalThis.straitSaid?.logs ?? [];
export const counts = globalThis.straitSaid?.counts ?? [];

// Node.js loads this file once for --import and once for the test's own import.
if (globalThis.straitSaid === undefined) {
  globalThis.straitSaid = { logs, counts };
  globalThis.straitHost = {
    log: (level, message) => logs.push(`${level}: ${message}`),
    count: (counter, delta) => counts.push([counter, delta]),
  };
  // The engine in the component has these.
  Uint8Array.prototype.toBase64 ??= function toBase64() { return Buffer.from(this).toString("base64"); };
  Uint8Array.fromBase64 ??= (text) => new Uint8Array(Buffer.from(text, "base64"));
  const sdk = JSON.stringify(import.meta.url);
  register(`data:text/javascript,${encodeURIComponent(`const SDK = ${sdk};${HOOKS}`)}`);
}

/** A configured plugin, on a link from `aws` in `eu-west-1` to `gcp`. */
export class Tester {
  #transform;
  #topic;
  #needs;
  #offset = 100;
  /** The mode of the following batches: 1 warm-up, 2 second try. */
  mode = 0;

  /** Configures the plugin and opens the topic `orders` with six partitions. */
  constructor(transform, config, { residency = false } = {}) {
    this.#transform = transform;
    const options = residency ? [[2, new Uint8Array([1])]] : [];
    const link = { link: "aws-to-gcp", source: "aws", sourceRegion: "eu-west-1", target: "gcp", targetRegion: null, options };
    this.counters = told(() => transform.configure(JSON.stringify(config), link)).counters;
    this.open("orders", 6);
  }

  /** Opens a topic for the following records, and returns its plan. */
  open(topic, partitions) {
    const plan = told(() => this.#transform.openTopic({ name: topic, partitions, options: [] }));
    this.#topic = topic;
    this.#needs = plan.needs ?? { columns: [], fields: [] };
    return plan;
  }

  /**
   * Passes the records in one batch. Returns one line per edit, such as `2 field 0 = "***"`: the
   * record's index, the operation, the argument, the bytes.
   */
  process(...records) {
    const parts = [];
    const columns = [];
    let length = 0;
    for (const number of this.#needs.columns) {
      parts.push(Buffer.alloc(-length & 7));
      length += -length & 7;
      const part = pack(number, this.#needs.fields.length, records);
      columns.push(number, length, part.length);
      parts.push(part);
      length += part.length;
    }
    const batch = {
      topic: this.#topic, partition: 3, count: records.length, baseOffset: this.#offset, mode: this.mode, options: [],
      origins: ["aws"], columns, data: new Uint8Array(Buffer.concat(parts)),
    };
    this.#offset += records.length;
    return lines(told(() => this.#transform.process(batch)));
  }
}

/** The SDK throws the errors of the interface, which are no errors of the language. */
function told(call) {
  try {
    return call();
  } catch (payload) {
    if (payload instanceof Error) throw payload;
    throw new Error(typeof payload === "string" ? payload : JSON.stringify(payload));
  }
}

const data = (content) => content === null || content === undefined ? Buffer.alloc(0) : Buffer.from(content);
const number = (value) => { const bytes = Buffer.alloc(4); bytes.writeInt32LE(value); return bytes; };
const size = (content) => number(content === null || content === undefined ? -1 : data(content).length);

function time(timestampMs) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(timestampMs));
  return bytes;
}

/** Fields are [index of the path, JSON text, pointer], in the order of the paths; headers [name, value]. */
function pack(column, paths, records) {
  const fields = records.flatMap((record) => record.fields ?? []);
  const headers = records.flatMap((record) => record.headers ?? []);
  const state = ({ value, state }) => state ?? (value === null || value === undefined ? 1 : 0);
  const counts = ({ fields = [] }) =>
    Array.from({ length: paths }, (_, path) => number(fields.filter(([of]) => of === path).length));
  const packed = {
    1: () => records.map((_, at) => number(at)),
    2: () => records.map(({ timestampMs = 1000 }) => time(timestampMs)),
    3: () => records.map(({ key }) => size(key)),
    4: () => records.map(({ key }) => data(key)),
    5: () => records.map(({ value }) => size(value)),
    6: () => records.map(({ value }) => data(value)),
    7: () => records.map((record) => Buffer.from([state(record)])),
    8: () => records.flatMap(counts),
    9: () => fields.map(([, json]) => size(json)),
    10: () => fields.map(([, json]) => data(json)),
    11: () => [...fields.map(([, , pointer = ""]) => size(pointer)), ...fields.map(([, , pointer = ""]) => data(pointer))],
    12: () => records.map(({ headers = [] }) => number(headers.length)),
    13: () => headers.map(([name]) => size(name)),
    14: () => headers.map(([name]) => data(name)),
    15: () => headers.map(([, value]) => size(value)),
    16: () => headers.map(([, value]) => data(value)),
    17: () => records.map(() => Buffer.from([0])),
    18: () => records.map(() => number(0)),
  };
  return Buffer.concat(packed[column]());
}

const NAMES = [
  "drop", "key", "value", "field", "insert", "header", "remove header", "add header", "add null header", "timestamp",
  "topic", "partition", "partition by", "reject", "emit", "rule",
];

function lines({ ops, data }) {
  const found = [];
  let at = 0;
  for (let edit = 0; edit < ops.length; edit += 4) {
    const [record, op, arg, length] = ops.slice(edit, edit + 4);
    let line = `${record} ${NAMES[op]}`;
    if ((op >= 3 && op <= 7) || op === 11 || op === 13 || op === 15) line += ` ${arg}`;
    if (length === -1) {
      found.push(`${line} = null`);
      continue;
    }
    const content = Buffer.from(data.slice(at, at + length));
    at += length;
    if (op === 9) line += ` = ${content.readBigInt64LE()}`;
    else if (![0, 6, 11, 14, 15].includes(op)) line += ` = ${content}`;
    found.push(line);
  }
  return found;
}

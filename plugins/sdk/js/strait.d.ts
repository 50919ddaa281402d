// The types of strait.js.

/** What a plugin may do: bits for `effects`. */
export declare const Effect: {
  readonly DROP: 1; readonly KEY: 2; readonly VALUE: 4; readonly FIELD: 8; readonly HEADER: 16;
  readonly TIMESTAMP: 32; readonly TOPIC: 64; readonly PARTITION: 128; readonly EMIT: 256; readonly REJECT: 512;
};

/** Fixed facts about a plugin: the static member `about` of its class. */
export interface About {
  name: string;
  version?: string;
  description?: string;
  /** JSON Schema of the configuration; the host checks it before the plugin is made. */
  configSchema?: object;
  /** The most that this plugin can ever do. */
  effects?: number;
  /** True for a redactor: a record that it could not judge must not pass. */
  failsClosed?: boolean;
  /** Names for `count`, and codes for `Reject`. */
  counters?: string[];
  rejectCodes?: string[];
}

/** The link that a plugin works on. */
export interface Link {
  link: string;
  source: string;
  sourceRegion?: string;
  target: string;
  targetRegion?: string;
}

/** What a plugin wants to see of a topic and may do to it. What is not asked for is not delivered. */
export interface Needs {
  effects?: number;
  offset?: boolean;
  timestamp?: boolean;
  key?: boolean;
  value?: boolean;
  valueState?: boolean;
  /** JSONPaths (RFC 9535) made of names, indexes, `[*]` and `..name`. */
  fields?: string[];
  fieldPointers?: boolean;
  headers?: string[];
  allHeaders?: boolean;
  /** Every topic that a change may name: full-match regular expressions. */
  outputTopics?: string[];
  /** Records with a longer value are not shown: rejected where the plugin fails closed, else passed. */
  valueMaxBytes?: number;
  /**
   * A plugin with memory: one object per partition, which is shown so many offsets of the log, 1 to 10,000,000, and not more than so many
   * milliseconds where that is not 0, before it judges.
   */
  lookback?: { records: number; millis?: number };
}

/** `name` renames the topic; without `needs` the plugin never sees it, which costs nothing. */
export interface TopicPlan {
  name?: string;
  needs?: Needs;
}

export interface Header {
  name: Uint8Array;
  value: Uint8Array | null;
}

/** A place in the value where a path of `fields` matched. */
export interface Field {
  /** Its number among all fields of the record. */
  readonly occurrence: number;
  /** JSON text, numbers and escapes as they are written. */
  readonly json: string;
  readonly value: unknown;
  /** JSON Pointer; null without `fieldPointers`. */
  readonly pointer: string | null;
}

/** One record, as far as the plugin asked for it. Asking for more throws: to answer null would be a lie. */
export interface Record {
  readonly topic: string;
  readonly partition: number;
  /** Exact to 2^53, as the engine takes 64-bit numbers for its own. */
  readonly offset: bigint;
  /** Milliseconds since the Unix epoch; -1 where there is none. */
  readonly timestampMs: number;
  /** null is a null key. */
  readonly key: Uint8Array | null;
  readonly keyText: string | null;
  /** null is a tombstone. */
  readonly value: Uint8Array | null;
  readonly valueText: string | null;
  readonly valueState:
    "parsed" | "null" | "empty" | "not-json" | "not-utf8" | "trailing" | "name-twice" | "too-deep" | "unknown";
  readonly headers: Header[];
  /** JSON text of the first place where the path of this index matches, or null. */
  fieldJson(field: number): string | null;
  /** The same as a value; undefined where it is absent. */
  field(field: number): unknown;
  fields(field: number): Field[];
}

/** The record is left out. */
export declare const DROP: { readonly drop: true };

/** The record is refused: it goes to quarantine at the source. The reason holds no personal data. */
export declare class Reject {
  constructor(code: string, reason?: string);
}

type Bytes = Uint8Array | string;

/** Changes to one record, in order; what they do not name stays. Text is written as UTF-8; null is null. */
export declare class Change {
  key(key: Bytes | null): this;
  /** Excludes field edits of this record. */
  value(value: Bytes | null): this;
  field(field: Field, value: unknown): this;
  fieldJson(field: Field, json: string): this;
  removeField(field: Field): this;
  /** Inserts the field of this index where it is absent; its parent must exist. */
  insertField(index: number, value: unknown): this;
  header(index: number, value: Bytes | null): this;
  removeHeader(index: number): this;
  addHeader(name: Bytes, value: Bytes | null): this;
  timestampMs(timestampMs: number | bigint): this;
  topic(topic: string): this;
  partition(partition: number): this;
  /** The partition that Kafka's default partitioner picks for these bytes. */
  partitionBy(data: Bytes): this;
  /** Sends the record as changed so far; what follows starts again from the original. */
  emit(): this;
  /** Leaves the original out, after what `emit` sent. */
  dropOriginal(): this;
}

export type Action = void | null | undefined | typeof DROP | Change | Reject;

/** A plugin: one object per link and lane. Its class has a static `about`. */
export interface Plugin {
  openTopic(topic: string, partitions: number): TopicPlan | null | undefined;
  onRecord(record: Record): Action;
}

/** A mistake in the configuration: JSON Pointer into it, and a message. Throw it in the constructor. */
export declare class ConfigError extends Error {
  constructor(path: string, message: string);
}

export declare function log(level: "trace" | "debug" | "info" | "warn" | "error", message: string): void;
/** Adds to a counter, by its index in `counters`. */
export declare function count(counter: number, delta?: number): void;
export declare function bytes(data: Bytes): Uint8Array;
export declare function text(data: Uint8Array | null): string | null;

/** What the component exports: `export const transform = plugin(MyPlugin)`. */
export declare function plugin<Config>(
  pluginClass: { new (config: Config, link: Link): Plugin; about: About },
): object;

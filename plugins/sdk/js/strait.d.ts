// The types of strait.js.

/** Effects of a plugin: bits for `effects`. */
export declare const Effect: {
  readonly DROP: 1; readonly KEY: 2; readonly VALUE: 4; readonly FIELD: 8; readonly HEADER: 16;
  readonly TIMESTAMP: 32; readonly TOPIC: 64; readonly PARTITION: 128; readonly EMIT: 256; readonly REJECT: 512;
};

/** The description of a plugin: the static member `about` of its class. */
export interface About {
  name: string;
  version?: string;
  description?: string;
  /** JSON Schema of the configuration. The host validates it before the plugin is created. */
  configSchema?: object;
  /** The most that this plugin can ever do. */
  effects?: number;
  /** Whether a record that the plugin could not judge must not pass. Set it for a redactor. */
  failsClosed?: boolean;
  /** Names for `count`, and codes for `Reject`. */
  counters?: string[];
  rejectCodes?: string[];
}

/** The link that the plugin runs on. */
export interface Link {
  link: string;
  source: string;
  sourceRegion?: string;
  target: string;
  targetRegion?: string;
}

/**
 * The parts of a topic's records that a plugin reads, and the effects it uses. Nothing else is
 * delivered.
 */
export interface Needs {
  effects?: number;
  offset?: boolean;
  timestamp?: boolean;
  key?: boolean;
  value?: boolean;
  valueState?: boolean;
  /** JSONPaths (RFC 9535) with names, indexes, `[*]` and `..name`. */
  fields?: string[];
  fieldPointers?: boolean;
  headers?: string[];
  allHeaders?: boolean;
  /** Topics that a change may use: regular expressions that match the whole name. */
  outputTopics?: string[];
  /**
   * Largest value to pass to the plugin, in bytes. A record with a larger one is rejected if the
   * plugin fails closed, and otherwise passed on without it.
   */
  valueMaxBytes?: number;
  /**
   * Makes the plugin stateful: one object per partition, warmed up from the log before it judges.
   * The warm-up covers at most `records` offsets (1 to 10,000,000) and, if `millis` is not 0, at
   * most that age.
   */
  lookback?: { records: number; millis?: number };
}

/** `name` renames the topic. Without `needs` the plugin never sees it, which costs nothing. */
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
  /** Number among all fields of the record. */
  readonly occurrence: number;
  /** JSON text, with numbers and escapes as written. */
  readonly json: string;
  readonly value: unknown;
  /** JSON Pointer; null without `fieldPointers`. */
  readonly pointer: string | null;
}

/**
 * A record, with the parts that the plugin requested. Access to any other part throws, because
 * returning null would be wrong.
 */
export interface Record {
  readonly topic: string;
  readonly partition: number;
  /** Exact to 2^53, because the engine converts 64-bit integers to numbers. */
  readonly offset: bigint;
  /** Milliseconds since the Unix epoch, or -1 if there is none. */
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
  /** Returns the JSON text of the first place where the path at this index matches, or null. */
  fieldJson(field: number): string | null;
  /** Returns the same as a value, or undefined if it is missing. */
  field(field: number): unknown;
  fields(field: number): Field[];
}

/** Drops the record. */
export declare const DROP: { readonly drop: true };

/**
 * Rejects the record: it goes to quarantine on the source. The reason must not contain personal
 * data.
 */
export declare class Reject {
  constructor(code: string, reason?: string);
}

type Bytes = Uint8Array | string;

/**
 * Changes to one record, in order. Parts that no change names stay as they are. Text is written as
 * UTF-8; null is null.
 */
export declare class Change {
  key(key: Bytes | null): this;
  /** Excludes field edits of this record. */
  value(value: Bytes | null): this;
  field(field: Field, value: unknown): this;
  fieldJson(field: Field, json: string): this;
  removeField(field: Field): this;
  /** Inserts a missing field, by its index in `fields`. Its parent must exist. */
  insertField(index: number, value: unknown): this;
  header(index: number, value: Bytes | null): this;
  removeHeader(index: number): this;
  addHeader(name: Bytes, value: Bytes | null): this;
  timestampMs(timestampMs: number | bigint): this;
  topic(topic: string): this;
  partition(partition: number): this;
  /** The partition that Kafka's default partitioner picks for these bytes. */
  partitionBy(data: Bytes): this;
  /** Sends a copy with the changes so far. Further changes start again from the original. */
  emit(): this;
  /** Drops the original after the copies that `emit` sent. */
  dropOriginal(): this;
}

export type Action = void | null | undefined | typeof DROP | Change | Reject;

/**
 * A plugin: one object per lane, or per partition if it is stateful. Its class has a static
 * `about`.
 */
export interface Plugin {
  openTopic(topic: string, partitions: number): TopicPlan | null | undefined;
  onRecord(record: Record): Action;
}

/**
 * A mistake in the configuration: a JSON Pointer into it, and a message. Throw it in the
 * constructor.
 */
export declare class ConfigError extends Error {
  constructor(path: string, message: string);
}

export declare function log(level: "trace" | "debug" | "info" | "warn" | "error", message: string): void;
/** Adds to the counter at an index of `counters`. */
export declare function count(counter: number, delta?: number): void;
export declare function bytes(data: Bytes): Uint8Array;
export declare function text(data: Uint8Array | null): string | null;

/** Returns the export of the component: `export const transform = plugin(MyPlugin)`. */
export declare function plugin<Config>(
  pluginClass: { new (config: Config, link: Link): Plugin; about: About },
): object;

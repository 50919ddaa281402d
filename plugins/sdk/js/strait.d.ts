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
  /** Codes for `Reject`. */
  rejectCodes?: string[];
}

/** A counter, for `count`. */
export interface Counter {
  name: string;
  /** The rule that it is of, by the operator's name for it; by default the whole plugin. */
  rule?: string;
  /** Whether Strait reports it if nothing is ever counted (event `rule_silent`). */
  expected?: boolean;
}

/** The link that the plugin runs on. */
export interface Link {
  link: string;
  source: string;
  sourceRegion?: string;
  target: string;
  targetRegion?: string;
  /**
   * Whether the operator demands residency: whatever cannot be judged must stay where it is, so a
   * plugin of several behaviours takes the strictest one by default.
   */
  demandsResidency: boolean;
}

/** What a plugin leaves of a part of the records that it lets pass (docs/plugins.md, Claims). */
export interface Claim {
  rule: string;
  at: string;
  leaves: "nothing" | "null" | "constant" | "part" | "token";
  except?: string[];
  keep?: { first?: number; last?: number };
  key?: string;
  domain?: string;
  gives?: "absent" | "null" | "string" | "same" | "json";
  embedded?: "reject" | "redact";
  fold?: boolean;
}

/**
 * The parts of a topic's records that a plugin reads, and the effects it uses. Nothing else is
 * delivered.
 */
export interface Needs {
  effects?: number;
  offset?: boolean;
  timestamp?: boolean;
  timestampType?: boolean;
  origin?: boolean;
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
  /** Each claim must be true of every record that the plugin lets pass. */
  protects?: Claim[];
  /**
   * Has values count as parsed in which the path of a field meets something that it cannot step
   * into. Without it they have the state "wrong-shape".
   */
  lenientShapes?: boolean;
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
  /** Whether the record is part of a warm-up: what the plugin makes of it is not sent. */
  readonly isWarmUp: boolean;
  /** Whether this is a retry, because an earlier call with the record failed. */
  readonly isSecondTry: boolean;
  /** Exact to 2^53, because the engine converts 64-bit integers to numbers. */
  readonly offset: bigint;
  /** Milliseconds since the Unix epoch, or -1 if there is none. */
  readonly timestampMs: number;
  /** Whether the source broker set the timestamp. Needs `timestampType`. */
  readonly timestampIsAppendTime: boolean;
  /** The cluster where the record was produced; null if it is not known. Needs `origin`. */
  readonly origin: string | null;
  /** null is a null key. */
  readonly key: Uint8Array | null;
  readonly keyText: string | null;
  /** null is a tombstone. */
  readonly value: Uint8Array | null;
  readonly valueText: string | null;
  readonly valueState:
    | "parsed" | "null" | "empty" | "not-json" | "not-utf8" | "trailing" | "name-twice" | "too-deep" | "wrong-shape"
    | "no-schema" | "other-schema" | "sealed" | "unknown";
  /** Whether the fields can be trusted, or there is no value. Needs `valueState`. */
  readonly isJudged: boolean;
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
 * data. `counter`, an index of `counters()`, says which rule rejects it: the name of its rule goes
 * into the books of quarantine.
 */
export declare class Reject {
  constructor(code: string, reason?: string, counter?: number | null);
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
  /** The counters, in the order of the indexes of `count`. Called once, after the constructor. */
  counters?(): Counter[];
  openTopic(topic: string, partitions: number): TopicPlan | null | undefined;
  onRecord(record: Record): Action;
  /**
   * Ends a batch. Called after its last record. Use it to `count` sums, because a call of the host
   * costs more than a record.
   */
  endBatch?(): void;
}

/**
 * A mistake in the configuration: a JSON Pointer into it, and a message. Throw it in the
 * constructor.
 */
export declare class ConfigError extends Error {
  constructor(path: string, message: string);
}

export declare function log(level: "trace" | "debug" | "info" | "warn" | "error", message: string): void;
/** Adds to the counter at an index of `counters()`. */
export declare function count(counter: number, delta?: number): void;
export declare function bytes(data: Bytes): Uint8Array;
export declare function text(data: Uint8Array | null): string | null;

/** Returns the export of the component: `export const transform = plugin(MyPlugin)`. */
export declare function plugin<Config>(
  pluginClass: { new (config: Config, link: Link): Plugin; about: About },
): Transform;

/** The export of a component, which the build and the Tester of testing.mjs take. */
export interface Transform {
  describe(): object;
}

// SDK for Strait plugins in AssemblyScript.
//
// plugin.ts exports `plugin(): Plugin`. The host calls it once per batch; the SDK turns that into
// one call of `onRecord` per record and collects the results. Only what `Needs` requests is copied
// into the guest. plugin.wit defines the layout of columns and edits.
//
// There are no exceptions to catch: an error ends the call, with its message.

import { Action } from "./action";
import { Record } from "./record";

export { Action, Change, DROP, Reject } from "./action";
export { count, Level, log } from "./host";
export { member, memberText, quote, textOf } from "./json";
export { Field, Header, isJudged, Record, ValueState } from "./record";

/** Effects of a plugin: bits for `effects`. */
export namespace Effect {
  export const DROP: u32 = 1 << 0;
  export const KEY: u32 = 1 << 1;
  export const VALUE: u32 = 1 << 2;
  export const FIELD: u32 = 1 << 3;
  export const HEADER: u32 = 1 << 4;
  export const TIMESTAMP: u32 = 1 << 5;
  export const TOPIC: u32 = 1 << 6;
  export const PARTITION: u32 = 1 << 7;
  export const EMIT: u32 = 1 << 8;
  export const REJECT: u32 = 1 << 9;
}

/** The description of a plugin, independent of any configuration. */
export class About {
  name: string = "";
  version: string = "0.1.0";
  description: string = "";
  /** JSON Schema of the configuration. The host validates it before `configure`. */
  configSchema: string = '{"type":["object","null"]}';
  /** The most that this plugin can ever do. */
  effects: u32 = 0;
  /** Whether a record that the plugin could not judge must not pass. Set it for a redactor. */
  failsClosed: bool = false;
  /** Codes for `Reject`. */
  rejectCodes: string[] = [];
}

/** A counter, for `count`. */
export class Counter {
  constructor(
    public name: string,
    /** The rule that it is of, by the operator's name for it; empty for the whole plugin. */
    public rule: string = "",
    /** Whether Strait reports it if nothing is ever counted (event `rule_silent`). */
    public expected: bool = false,
  ) {}
}

/** The link that the plugin runs on. */
export class Link {
  link: string = "";
  source: string = "";
  sourceRegion: string | null = null;
  target: string = "";
  targetRegion: string | null = null;
  /**
   * Whether the operator demands residency: whatever cannot be judged must stay where it is, so a
   * plugin of several behaviours takes the strictest one by default.
   */
  demandsResidency: bool = false;
}

/** A mistake in the configuration: a JSON Pointer into it, and a message. */
export class ConfigError {
  constructor(public path: string, public message: string) {}
}

/**
 * The parts of a topic's records that a plugin reads, and the effects it uses. Nothing else is
 * delivered.
 */
export class Needs {
  effects: u32 = 0;
  offset: bool = false;
  timestamp: bool = false;
  timestampType: bool = false;
  origin: bool = false;
  key: bool = false;
  value: bool = false;
  valueState: bool = false;
  /** JSONPaths (RFC 9535) with names, indexes, `[*]` and `..name`. */
  fields: string[] = [];
  fieldPointers: bool = false;
  /** Headers are delivered by name, or all of them. */
  headers: string[] = [];
  allHeaders: bool = false;
  /** Topics that a change may use: regular expressions that match the whole name. */
  outputTopics: string[] = [];
  /**
   * Largest value to pass to the plugin, in bytes; 0 is no limit. A record with a larger one is
   * rejected if the plugin fails closed, and otherwise passed on without it.
   */
  valueMaxBytes: u32 = 0;
  /**
   * Makes the plugin stateful: one instance per partition, warmed up from the log before it judges.
   * The warm-up covers at most so many offsets (1 to 10,000,000); 0: not stateful.
   */
  lookbackRecords: u32 = 0;
  /** The most age of a warm-up in milliseconds; 0 is no limit. */
  lookbackMillis: u64 = 0;

  columns(): u32[] {
    let numbers: u32[] = [];
    if (this.offset) numbers.push(1);
    if (this.timestamp) numbers.push(2);
    if (this.key) numbers = numbers.concat([3, 4]);
    if (this.value) numbers = numbers.concat([5, 6]);
    if (this.valueState) numbers.push(7);
    if (this.fields.length > 0) numbers = numbers.concat([8, 9, 10]);
    if (this.fieldPointers) numbers.push(11);
    if (this.headers.length > 0 || this.allHeaders) numbers = numbers.concat([12, 13, 14, 15, 16]);
    if (this.timestampType) numbers.push(17);
    if (this.origin) numbers.push(18);
    return numbers;
  }
}

/**
 * The plan of a plugin for one topic. Without `needs` it never sees the topic's records, which
 * costs nothing.
 */
export class TopicPlan {
  /** Renames the topic (effect TOPIC). */
  name: string | null = null;
  /**
   * What the plugin leaves of parts of the topic's records: a JSON array as plugin.wit describes
   * it. Each claim must be true of every record that the plugin lets pass.
   */
  protects: string | null = null;
  /**
   * Has values count as parsed in which the path of a field meets something that it cannot step
   * into. Without it they have the state WRONG_SHAPE.
   */
  lenientShapes: bool = false;
  /** Why the plugin cannot work on this topic. The topic's partitions stop with it. */
  failure: string | null = null;

  constructor(public needs: Needs | null = null) {}
}

/** A plugin. There is one instance per lane, or one per partition if it is stateful. */
export abstract class Plugin {
  /** Returns the description of the plugin. */
  abstract about(): About;

  /** Takes the configuration (JSON with secrets resolved). Returns a mistake in it, or null. */
  configure(config: string, link: Link): ConfigError | null { return null; }

  /** Returns the counters. Called once, after `configure`. */
  counters(): Counter[] { return []; }

  /**
   * Plans the work on a topic; null to never see it. Called once per topic. The result must depend
   * only on the configuration and the topic.
   */
  openTopic(topic: string, partitions: u32): TopicPlan | null { return null; }

  /** Judges one record: null passes it. */
  onRecord(record: Record): Action | null { return null; }

  /** Ends a batch. Called after its last record. */
  endBatch(): void {}
}

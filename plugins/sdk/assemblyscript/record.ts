// A batch as columns, its records, and the edits of the answer.

import { textOf } from "./json";

const COLUMNS: i32 = 19;
/** The length of a null, 2^32 - 1. */
const NULL: u32 = 0xffffffff;

/** States of a value as a document; the numbers are those of column 7. */
export enum ValueState {
  PARSED, NULL, EMPTY, NOT_JSON, NOT_UTF8, TRAILING_BYTES, NAME_TWICE, TOO_LARGE, WRONG_SHAPE, NO_SCHEMA,
  OTHER_SCHEMA, SEALED,
}

/**
 * Returns whether the fields can be trusted, or there is no value. Any other state means that the
 * value was not judged, one that this SDK does not know too.
 */
export function isJudged(state: ValueState): bool {
  return state == ValueState.PARSED || state == ValueState.NULL;
}

/** Memory that grows and is used again by later batches. */
class Buffer {
  at: usize = 0;
  length: u32 = 0;
  private size: u32 = 0;

  /** Makes room for more bytes, and returns their address. */
  extend(more: u32): usize {
    if (this.length + more > this.size) {
      this.size = max<u32>(4096, 2 * (this.length + more));
      this.at = this.at == 0 ? heap.alloc(this.size) : heap.realloc(this.at, this.size);
    }
    const end = this.at + <usize>this.length;
    this.length += more;
    return end;
  }
}

/** The edits of a batch. */
export class Answer {
  ops: Buffer = new Buffer();
  data: Buffer = new Buffer();

  clear(): void {
    this.ops.length = 0;
    this.data.length = 0;
  }

  add(record: u32, op: u32, arg: u32, bytes: ArrayBuffer | null): void {
    const to = this.ops.extend(16);
    store<u32>(to, record);
    store<u32>(to, op, 4);
    store<u32>(to, arg, 8);
    store<u32>(to, bytes === null ? NULL : bytes.byteLength, 12);
    if (bytes === null) return;
    memory.copy(this.data.extend(bytes.byteLength), changetype<usize>(bytes), bytes.byteLength);
  }
}

/** A batch of records. */
export class Batch {
  origins: string[] = [];
  private starts: StaticArray<usize> = new StaticArray<usize>(COLUMNS);
  private lengths: StaticArray<u32> = new StaticArray<u32>(COLUMNS);

  constructor(
    public topic: string,
    public partition: u32,
    public count: u32,
    public baseOffset: u64,
    public mode: u32,
  ) {
    this.lengths.fill(NULL);
  }

  put(number: u32, start: usize, length: u32): void {
    // Columns of a newer host are ignored.
    if (number >= <u32>COLUMNS) return;
    this.starts[number] = start;
    this.lengths[number] = length;
  }

  has(number: i32): bool { return this.lengths[number] != NULL; }

  length(number: i32): u32 { return this.has(number) ? this.lengths[number] : 0; }

  /**
   * The number of paths that the plugin declared. From the column itself: openTopic is not called
   * again on an instance that replaces a broken one.
   */
  get paths(): u32 { return this.count == 0 ? 0 : this.length(8) / 4 / this.count; }

  /** Returns the address of bytes in a column. */
  place(number: i32, start: u32, length: u32, read: string): usize {
    if (!this.has(number)) throw new Error(`the plugin reads ${read}, but its needs do not request it`);
    if (<u64>start + <u64>length > <u64>this.lengths[number]) throw new Error("a column is too short");
    return this.starts[number] + <usize>start;
  }

  number(number: i32, at: u32, read: string): u32 { return load<u32>(this.place(number, at * 4, 4, read)); }

  /** Returns a length; a null has none. */
  bytes(number: i32, at: u32, read: string): u32 {
    const length = <i32>this.number(number, at, read);
    return length > 0 ? length : 0;
  }

  isNull(number: i32, at: u32, read: string): bool { return this.number(number, at, read) == NULL; }
}

/** A header of a record. A `value` of null is Kafka's null. */
export class Header {
  constructor(public name: string, public value: Uint8Array | null) {}

  get valueText(): string | null {
    const value = this.value;
    return value === null ? null : String.UTF8.decode(value.buffer);
  }
}

/** A place in the value where a path of `Needs.fields` matched. */
export class Field {
  constructor(
    /** Number among all fields of the record. */
    public occurrence: u32,
    /** JSON text, with numbers and escapes as written. */
    public json: string,
    /** JSON Pointer; null without `Needs.fieldPointers`. */
    public pointer: string | null,
  ) {}

  /** The text of a JSON string, or null for any other type. */
  get text(): string | null { return textOf(this.json); }
}

/**
 * A record, with the parts that the plugin requested. Valid until `onRecord` returns. Access to any
 * other part, and any index that is out of range, ends the call with an error, because returning
 * null would be wrong.
 */
export class Record {
  index: u32 = 0;
  // Start of this record's bytes, occurrences and headers.
  private keyAt: u32 = 0;
  private valueAt: u32 = 0;
  private occurrence: u32 = 0;
  private fieldAt: u32 = 0;
  private header: u32 = 0;
  private headerName: u32 = 0;
  private headerValue: u32 = 0;

  constructor(private batch: Batch) {}

  /** The source topic, or the name that an earlier plugin of the chain gave it. */
  get topic(): string { return this.batch.topic; }
  /** The source partition. */
  get partition(): u32 { return this.batch.partition; }
  /** Whether this record is part of a warm-up: what the plugin makes of it is not sent. */
  get isWarmUp(): bool { return (this.batch.mode & 1) != 0; }
  /** Whether this is a retry, because an earlier call with the record failed. */
  get isSecondTry(): bool { return (this.batch.mode & 2) != 0; }
  /** The source offset. Needs `offset`. */
  get offset(): u64 { return this.batch.baseOffset + <u64>this.batch.number(1, this.index, "the offset"); }
  /** Milliseconds since the Unix epoch, or -1 if there is none. Needs `timestamp`. */
  get timestampMs(): i64 { return load<i64>(this.batch.place(2, this.index * 8, 8, "the timestamp")); }
  /** Whether the source broker set the timestamp. Needs `timestampType`. */
  get timestampIsAppendTime(): bool { return load<u8>(this.batch.place(17, this.index, 1, "the timestamp type")) == 1; }
  /** The cluster where the record was produced, or null if it is not known. Needs `origin`. */
  get origin(): string | null {
    const at = this.batch.number(18, this.index, "the origin");
    return at < <u32>this.batch.origins.length ? this.batch.origins[at] : null;
  }
  /** null is a null key. Needs `key`. */
  get key(): Uint8Array | null { return this.copied(3, this.index, this.keyAt, "the key"); }
  get keyText(): string | null { return this.decoded(3, this.index, this.keyAt, "the key"); }
  /** null is a tombstone. Needs `value`. */
  get value(): Uint8Array | null { return this.copied(5, this.index, this.valueAt, "the value"); }
  get valueText(): string | null { return this.decoded(5, this.index, this.valueAt, "the value"); }
  /** The state of the value as a document. Needs `valueState`. */
  get valueState(): ValueState { return load<u8>(this.batch.place(7, this.index, 1, "the state of the value")); }

  /** Returns every place where the path at an index of `Needs.fields` matches. */
  fields(path: u32): Field[] {
    const paths = this.batch.paths;
    // The places of another record would follow.
    if (path >= paths) throw new Error(`field ${path} is read, and the needs of this topic name ${paths}`);
    const found: Field[] = [];
    let occurrence: u32 = 0;
    let start = this.fieldAt;
    for (let before: u32 = 0; before <= path; before++) {
      for (let count = this.batch.number(8, this.index * paths + before, "the fields"); count > 0; count--) {
        const at = this.occurrence + occurrence;
        if (before == path) {
          const json = this.decoded(9, at, start, "the fields");
          found.push(new Field(occurrence, json === null ? "" : json, this.pointer(at)));
        }
        start += this.batch.bytes(9, at, "the fields");
        occurrence++;
      }
    }
    return found;
  }

  /** Returns the first place where the path at an index of `Needs.fields` matches, or null. */
  field(path: u32): Field | null {
    const found = this.fields(path);
    return found.length == 0 ? null : found[0];
  }

  /**
   * Returns the text of the first place where a path matches, or null if there is none or it is not
   * a JSON string.
   */
  fieldText(path: u32): string | null {
    const found = this.fields(path);
    return found.length == 0 ? null : found[0].text;
  }

  private pointer(at: u32): string | null {
    if (!this.batch.has(11)) return null;
    // All lengths of the batch, then all bytes.
    let start = this.batch.length(9);
    for (let before: u32 = 0; before < at; before++) start += this.batch.bytes(11, before, "the pointers");
    const length = this.batch.bytes(11, at, "the pointers");
    return String.UTF8.decodeUnsafe(this.batch.place(11, start, length, "the pointers"), length);
  }

  /** The declared headers, or all of them, in their order. Needs `headers`. */
  get headers(): Header[] {
    const found: Header[] = [];
    let name = this.headerName;
    let value = this.headerValue;
    const end = this.header + this.batch.number(12, this.index, "the headers");
    for (let at = this.header; at < end; at++) {
      const text = this.decoded(13, at, name, "the headers");
      found.push(new Header(text === null ? "" : text, this.copied(15, at, value, "the headers")));
      name += this.batch.bytes(13, at, "the headers");
      value += this.batch.bytes(15, at, "the headers");
    }
    return found;
  }

  private decoded(lengths: i32, at: u32, start: u32, read: string): string | null {
    if (this.batch.isNull(lengths, at, read)) return null;
    const length = this.batch.bytes(lengths, at, read);
    return String.UTF8.decodeUnsafe(this.batch.place(lengths + 1, start, length, read), length);
  }

  private copied(lengths: i32, at: u32, start: u32, read: string): Uint8Array | null {
    if (this.batch.isNull(lengths, at, read)) return null;
    const copy = new Uint8Array(this.batch.bytes(lengths, at, read));
    memory.copy(copy.dataStart, this.batch.place(lengths + 1, start, copy.length, read), copy.length);
    return copy;
  }

  /** Advances to the next record. */
  next(): void {
    const batch = this.batch;
    if (batch.has(3)) this.keyAt += batch.bytes(3, this.index, "lengths");
    if (batch.has(5)) this.valueAt += batch.bytes(5, this.index, "lengths");
    const paths = batch.paths;
    for (let path: u32 = 0; path < paths; path++) {
      for (let count = batch.number(8, this.index * paths + path, "the fields"); count > 0; count--) {
        this.fieldAt += batch.bytes(9, this.occurrence++, "the fields");
      }
    }
    if (batch.has(12)) {
      for (let count = batch.number(12, this.index, "the headers"); count > 0; count--) {
        this.headerName += batch.bytes(13, this.header, "the headers");
        this.headerValue += batch.bytes(15, this.header++, "the headers");
      }
    }
    this.index++;
  }
}

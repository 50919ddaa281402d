// The outcome for a record.

import { Answer, Field } from "./record";

/** What `onRecord` returns: `DROP`, a `Reject` or a `Change`; null passes the record. */
export abstract class Action {
  abstract write(record: u32, codes: string[], answer: Answer): void;
}

class Drop extends Action {
  write(record: u32, codes: string[], answer: Answer): void { answer.add(record, 0, 0, new ArrayBuffer(0)); }
}

/** Drops the record. */
export const DROP: Action = new Drop();

/**
 * Rejects the record: it goes to quarantine on the source. `code` is one of `About.rejectCodes`.
 * The reason is for the operator and must not contain personal data. `counter`, an index of
 * `Plugin.counters`, says which rule rejects it: the name of its rule goes into the books of
 * quarantine.
 */
export class Reject extends Action {
  constructor(public code: string, public reason: string = "", public counter: i32 = -1) { super(); }

  write(record: u32, codes: string[], answer: Answer): void {
    const code = codes.indexOf(this.code);
    if (code < 0) throw new Error(`'${this.code}' is not one of the plugin's reject codes`);
    if (this.counter >= 0) answer.add(record, 15, this.counter, new ArrayBuffer(0));
    answer.add(record, 13, code, String.UTF8.encode(this.reason));
  }
}

/**
 * Changes to one record, in order. Parts that no change names stay as they are. Text is written as
 * UTF-8; null is Kafka's null.
 */
export class Change extends Action {
  private ops: u32[] = [];
  private parts: (ArrayBuffer | null)[] = [];

  /** Sets the key. */
  key(key: Uint8Array | null): this { return this.add(1, 0, bytesOf(key)); }
  keyText(key: string): this { return this.add(1, 0, String.UTF8.encode(key)); }
  /** Sets the value; null makes a tombstone. Excludes field edits of this record. */
  value(value: Uint8Array | null): this { return this.add(2, 0, bytesOf(value)); }
  valueText(value: string): this { return this.add(2, 0, String.UTF8.encode(value)); }
  /** Replaces a field, one of `Record.fields`, with JSON text. */
  field(field: Field, json: string): this { return this.add(3, field.occurrence, String.UTF8.encode(json)); }
  /** Removes a field: the member with its name, or the element of the array. */
  removeField(field: Field): this { return this.add(3, field.occurrence, null); }
  /** Inserts a missing field, by its index in `Needs.fields`. Its parent must exist. */
  insertField(index: u32, json: string): this { return this.add(4, index, String.UTF8.encode(json)); }
  /** Sets the value of a header, by its index in `Record.headers`. */
  header(index: u32, value: Uint8Array | null): this { return this.add(5, index, bytesOf(value)); }
  headerText(index: u32, value: string): this { return this.add(5, index, String.UTF8.encode(value)); }
  /** Removes a header, by its index in `Record.headers`. */
  removeHeader(index: u32): this { return this.add(6, index, new ArrayBuffer(0)); }
  /** Appends a header. */
  addHeader(name: string, value: Uint8Array | null): this {
    const start = String.UTF8.encode(name);
    const end = bytesOf(value);
    if (end === null) return this.add(8, 0, start);
    const both = new ArrayBuffer(start.byteLength + end.byteLength);
    memory.copy(changetype<usize>(both), changetype<usize>(start), start.byteLength);
    memory.copy(changetype<usize>(both) + <usize>start.byteLength, changetype<usize>(end), end.byteLength);
    return this.add(7, start.byteLength, both);
  }
  addHeaderText(name: string, value: string): this {
    return this.addHeader(name, Uint8Array.wrap(String.UTF8.encode(value)));
  }
  /** Sets the timestamp, in milliseconds since the Unix epoch. */
  timestampMs(timestampMs: i64): this {
    const bytes = new ArrayBuffer(8);
    store<i64>(changetype<usize>(bytes), timestampMs);
    return this.add(9, 0, bytes);
  }
  /** Sends the record to a topic that `Needs.outputTopics` allows. The partition follows the key. */
  topic(topic: string): this { return this.add(10, 0, String.UTF8.encode(topic)); }
  /** Sends the record to this partition. */
  partition(partition: u32): this { return this.add(11, partition, new ArrayBuffer(0)); }
  /** Sends the record to the partition that Kafka's default partitioner picks for these bytes. */
  partitionBy(data: Uint8Array): this { return this.add(12, 0, bytesOf(data)); }
  /**
   * Sends a copy with the changes so far. Further changes start again from the original, which is
   * sent too unless `dropOriginal` ends the change.
   */
  emit(): this { return this.add(14, 0, new ArrayBuffer(0)); }
  /** Drops the original after the copies that `emit` sent. It must be the last change. */
  dropOriginal(): this { return this.add(0, 0, new ArrayBuffer(0)); }

  write(record: u32, codes: string[], answer: Answer): void {
    for (let at = 0; at < this.parts.length; at++) {
      answer.add(record, this.ops[2 * at], this.ops[2 * at + 1], this.parts[at]);
    }
  }

  private add(op: u32, arg: u32, bytes: ArrayBuffer | null): this {
    this.ops.push(op);
    this.ops.push(arg);
    this.parts.push(bytes);
    return this;
  }
}

function bytesOf(data: Uint8Array | null): ArrayBuffer | null {
  return data === null ? null : data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}

// The functions of the host. Every file depends on this one (`abort`), so it runs first and must
// make no objects: there is no heap yet.

/** Levels of `log`. */
export enum Level { TRACE, DEBUG, INFO, WARN, ERROR }

// @ts-ignore: decorator
@external("strait:plugin/host@0.2.0", "log")
declare function hostLog(level: u32, text: usize, length: u32): void;
// @ts-ignore: decorator
@external("strait:plugin/host@0.2.0", "count")
declare function hostCount(counter: u32, delta: u64): void;

/**
 * Writes to Strait's log. At most 64 messages of 1 KiB per batch; they appear once the batch is
 * accepted.
 */
export function log(level: Level, message: string): void {
  const length = String.UTF8.byteLength(message);
  const at = heap.alloc(max(length, 1));
  String.UTF8.encodeUnsafe(changetype<usize>(message), message.length, at);
  hostLog(level, at, length);
  heap.free(at);
}

/**
 * Adds to the counter at an index of `counters`. Call it in `endBatch` with a sum: a call of the
 * host costs more than a record.
 */
export function count(counter: u32, delta: u64 = 1): void { hostCount(counter, delta); }

/** The operator sees the message of an error; by itself a trap says nothing. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const told = message === null ? "aborted" : message;
  log(Level.ERROR, file === null ? told : `${told} (line ${line} of ${file})`);
  unreachable();
}

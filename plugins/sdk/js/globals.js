// Globals that packages expect and the engine lacks, and a fixed clock: a plugin must not depend on
// the time, and a call of the system's clock would end it. The clock shows when the plugin was
// built.

import { decode, encode } from "./utf8.js";

globalThis.TextEncoder ??= class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") { return encode(String(text)); }
};
globalThis.TextDecoder ??= class TextDecoder {
  constructor(label = "utf-8") {
    if (!/^\s*utf-?8\s*$/i.test(label)) throw new RangeError(`TextDecoder supports UTF-8 only, not ${label}`);
  }
  get encoding() { return "utf-8"; }
  decode(data = new Uint8Array(0)) {
    if (data instanceof Uint8Array) return decode(data);
    return decode(ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data));
  }
};

const built = Date.now();
const EngineDate = Date;
EngineDate.now = () => built;
globalThis.Date = new Proxy(EngineDate, {
  apply() { return new EngineDate(built).toString(); },
  construct(target, given, made) { return Reflect.construct(target, given.length === 0 ? [built] : given, made); },
});
EngineDate.prototype.constructor = globalThis.Date;
globalThis.performance = { timeOrigin: built, now() { return 0; } };

// Says all that it knows: in an exception, in its log and in a reject, by the record's value.

import { Effect, Reject, log, plugin } from "strait-plugin";

class Canary {
  static about = {
    name: "told-js",
    version: "0.1.0",
    effects: Effect.REJECT,
    rejectCodes: ["refused"],
    configSchema: { type: "object", properties: { secret: { type: "string" } } },
  };

  constructor(config, link) {
    this.secret = config.secret;
    if (config.refuse) throw new Error(`canary-said ${this.secret}`);
  }

  openTopic(topic, partitions) {
    return { needs: { key: true, value: true, effects: Effect.REJECT } };
  }

  onRecord(record) {
    const text = `canary-said ${this.secret} ${record.keyText} ${record.valueText}`;
    if (record.valueText.includes("raise")) throw new Error(text);
    log("error", text);
    if (record.valueText.includes("reject")) return new Reject("refused", text);
  }
}

export const transform = plugin(Canary);

// Drops test orders, redacts the customer's e-mail, routes by region.

import { Change, DROP, Effect, plugin } from "strait-plugin";

// Indexes of the requested fields in `needs`.
const EMAIL = 0;
const REGION = 1;
/** @type {Record<string, string>} */
const ROUTES = { eu: "orders-eu", us: "orders-us" };
const EFFECTS = Effect.DROP | Effect.FIELD | Effect.TOPIC;

class TidyOrders {
  static about = {
    name: "tidy-orders",
    version: "0.1.0",
    description: "Drops test orders, redacts the customer's e-mail, routes by region",
    effects: EFFECTS,
    // A plugin that redacts must not pass what it cannot read.
    failsClosed: true,
    configSchema: {
      type: "object",
      properties: { test_prefix: { type: "string", minLength: 1 } },
      additionalProperties: false,
    },
  };

  /**
   * @param {{ test_prefix?: string }} config
   * @param {import("strait-plugin").Link} link
   */
  constructor(config, link) {
    this.testPrefix = config.test_prefix ?? "test-";
  }

  /**
   * @param {string} topic
   * @param {number} partitions
   */
  openTopic(topic, partitions) {
    if (!topic.startsWith("orders")) return null;
    const fields = ["$.customer.email", "$.region"];
    return { needs: { key: true, fields, effects: EFFECTS, outputTopics: Object.values(ROUTES) } };
  }

  /** @param {import("strait-plugin").Record} record */
  onRecord(record) {
    if (record.keyText?.startsWith(this.testPrefix)) return DROP;
    const change = new Change();
    for (const email of record.fields(EMAIL)) change.fieldJson(email, '"***"');
    const region = record.field(REGION);
    if (typeof region === "string" && Object.hasOwn(ROUTES, region)) change.topic(ROUTES[region]);
    return change;
  }
}

export const transform = plugin(TidyOrders);

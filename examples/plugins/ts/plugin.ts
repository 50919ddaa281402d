// Drops test orders, redacts the customer's e-mail, routes by region.

import { type About, type Action, Change, DROP, Effect, type Link, type Plugin, plugin, type Record, type TopicPlan }
  from "strait-plugin";

// Indexes of the requested fields in `needs`.
const EMAIL = 0;
const REGION = 1;
const ROUTES = new Map([["eu", "orders-eu"], ["us", "orders-us"]]);
const EFFECTS = Effect.DROP | Effect.FIELD | Effect.TOPIC;

interface Config {
  test_prefix?: string;
}

class TidyOrders implements Plugin {
  static about: About = {
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

  private readonly testPrefix: string;

  constructor(config: Config, _link: Link) {
    this.testPrefix = config.test_prefix ?? "test-";
  }

  openTopic(topic: string, _partitions: number): TopicPlan | null {
    if (!topic.startsWith("orders")) return null;
    const fields = ["$.customer.email", "$.region"];
    return { needs: { key: true, fields, effects: EFFECTS, outputTopics: [...ROUTES.values()] } };
  }

  onRecord(record: Record): Action {
    if (record.keyText?.startsWith(this.testPrefix)) return DROP;
    const change = new Change();
    for (const email of record.fields(EMAIL)) change.fieldJson(email, '"***"');
    const region = record.field(REGION);
    const route = typeof region === "string" ? ROUTES.get(region) : undefined;
    if (route !== undefined) change.topic(route);
    return change;
  }
}

export const transform = plugin(TidyOrders);

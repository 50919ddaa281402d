// Drops test orders, redacts the customer's e-mail, routes by region.

import {
  About, Action, Change, ConfigError, DROP, Effect, Link, memberText, Needs, Plugin, Record, TopicPlan,
} from "./sdk/strait";

// Indexes of the requested fields in `needs`.
const EMAIL = 0;
const REGION = 1;
const EFFECTS: u32 = Effect.DROP | Effect.FIELD | Effect.TOPIC;

class TidyOrders extends Plugin {
  private testPrefix: string = "test-";

  about(): About {
    const about = new About();
    about.name = "tidy-orders";
    about.version = "0.1.0";
    about.description = "Drops test orders, redacts the customer's e-mail, routes by region";
    about.effects = EFFECTS;
    // A plugin that redacts must not pass what it cannot read.
    about.failsClosed = true;
    about.configSchema = `{
      "type": "object",
      "properties": { "test_prefix": { "type": "string", "minLength": 1 } },
      "additionalProperties": false
    }`;
    return about;
  }

  configure(config: string, link: Link): ConfigError | null {
    const prefix = memberText(config, "test_prefix");
    if (prefix !== null) this.testPrefix = prefix;
    return null;
  }

  openTopic(topic: string, partitions: u32): TopicPlan | null {
    if (!topic.startsWith("orders")) return null;
    const needs = new Needs();
    needs.key = true;
    needs.fields = ["$.customer.email", "$.region"];
    needs.effects = EFFECTS;
    needs.outputTopics = ["orders-eu", "orders-us"];
    return new TopicPlan(needs);
  }

  onRecord(record: Record): Action | null {
    const key = record.keyText;
    if (key !== null && key.startsWith(this.testPrefix)) return DROP;
    const change = new Change();
    const emails = record.fields(EMAIL);
    for (let at = 0; at < emails.length; at++) change.field(emails[at], '"***"');
    const region = record.fieldText(REGION);
    if (region == "eu") change.topic("orders-eu");
    if (region == "us") change.topic("orders-us");
    return change;
  }
}

export function plugin(): Plugin { return new TidyOrders(); }

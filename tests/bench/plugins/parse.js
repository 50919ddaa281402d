// The example in JavaScript, with the value parsed by the plugin itself instead of by the host: what `fields` is measured against.

import { Change, DROP, Effect, plugin } from "strait-plugin";

const ROUTES = { eu: "orders-eu", us: "orders-us" };
const EFFECTS = Effect.DROP | Effect.VALUE | Effect.TOPIC;

class TidyOrders {
  static about = { name: "tidy-orders-parsing", effects: EFFECTS, failsClosed: true };

  openTopic(topic, partitions) {
    if (!topic.startsWith("orders")) return null;
    return { needs: { key: true, value: true, effects: EFFECTS, outputTopics: Object.values(ROUTES) } };
  }

  onRecord(record) {
    if (record.keyText?.startsWith("test-")) return DROP;
    const value = record.valueText;
    if (value === null) return null;
    const order = JSON.parse(value);
    const change = new Change();
    if (order.customer?.email !== undefined) {
      order.customer.email = "***";
      change.value(JSON.stringify(order));
    }
    if (typeof order.region === "string" && Object.hasOwn(ROUTES, order.region)) change.topic(ROUTES[order.region]);
    return change;
  }
}

export const transform = plugin(TidyOrders);

"""The example in Python, with the value parsed by the plugin itself instead of by the host: what `fields` is measured against."""

import json

from strait import DROP, DROP_RECORD, TOPIC, VALUE, Change, Needs, Plugin, export

ROUTES = {"eu": "orders-eu", "us": "orders-us"}


class TidyOrders(Plugin):
    name = "tidy-orders-parsing"
    effects = DROP | VALUE | TOPIC
    fails_closed = True

    def open_topic(self, topic, partitions):
        if not topic.startswith("orders"):
            return None
        return Needs(key=True, value=True, effects=self.effects, output_topics=list(ROUTES.values()))

    def on_record(self, record):
        if (record.key or b"").startswith(b"test-"):
            return DROP_RECORD
        if record.value is None:
            return None
        order = json.loads(record.value)
        change = Change()
        customer = order.get("customer")
        if isinstance(customer, dict) and "email" in customer:
            customer["email"] = "***"
            change.value(json.dumps(order))
        region = order.get("region")
        if isinstance(region, str) and region in ROUTES:
            change.topic(ROUTES[region])
        return change


Transform = export(TidyOrders)

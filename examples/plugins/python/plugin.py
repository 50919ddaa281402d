"""Drops test orders, redacts the customer's e-mail, routes by region."""

from typing import Any

from strait import DROP, DROP_RECORD, FIELD, TOPIC, Action, Change, Link, Needs, Plugin, Record, export

# Indexes of the requested fields in Needs.
EMAIL, REGION = 0, 1
ROUTES = {"eu": "orders-eu", "us": "orders-us"}


class TidyOrders(Plugin):
    name = "tidy-orders"
    version = "0.1.0"
    description = "Drops test orders, redacts the customer's e-mail, routes by region"
    effects = DROP | FIELD | TOPIC
    # A plugin that redacts must not pass what it cannot read.
    fails_closed = True
    config_schema = {
        "type": "object",
        "properties": {"test_prefix": {"type": "string", "minLength": 1}},
        "additionalProperties": False,
    }

    def __init__(self, config: dict[str, Any], link: Link) -> None:
        self.test_prefix = config.get("test_prefix", "test-").encode()

    def open_topic(self, topic: str, partitions: int) -> Needs | None:
        if not topic.startswith("orders"):
            return None
        fields = ["$.customer.email", "$.region"]
        return Needs(key=True, fields=fields, effects=self.effects, output_topics=list(ROUTES.values()))

    def on_record(self, record: Record) -> Action:
        if (record.key or b"").startswith(self.test_prefix):
            return DROP_RECORD
        change = Change()
        for email in record.fields(EMAIL):
            change.field_json(email, b'"***"')
        region = record.field(REGION)
        if isinstance(region, str) and region in ROUTES:
            change.topic(ROUTES[region])
        return change


Transform = export(TidyOrders)

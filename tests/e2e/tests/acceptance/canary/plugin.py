"""Says all that it knows: in an exception, in its log and in a reject, by the record's value."""

from strait import REJECT, Level, Needs, Plugin, Reject, export, log


class Canary(Plugin):
    name = "told-python"
    effects = REJECT
    reject_codes = ["refused"]
    config_schema = {"type": "object", "properties": {"secret": {"type": "string"}}}

    def __init__(self, config, link):
        self.secret = config["secret"]
        if config.get("refuse"):
            raise ValueError(f"canary-said {self.secret}")

    def open_topic(self, topic, partitions):
        return Needs(key=True, value=True, effects=REJECT)

    def on_record(self, record):
        text = f"canary-said {self.secret} {record.key} {record.value}"
        if b"raise" in record.value:
            raise ValueError(text)
        log(Level.ERROR, text)
        return Reject("refused", text) if b"reject" in record.value else None


Transform = export(Canary)

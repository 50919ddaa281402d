"""Does what the header "do" of a record says. The same plugin exists in each language."""

from strait import (
    DROP_RECORD, Change, ConfigError, Counter, Needs, Plugin, Reject, TopicPlan, count, export,
)

LIST, NAME, ABSENT = range(3)
ALL = (1 << 10) - 1


class Alike(Plugin):
    name = "alike"
    version = "1.0.0"
    effects = ALL
    fails_closed = True
    reject_codes = ["odd", "worse"]
    config_schema = {"type": "object"}

    def __init__(self, config, link):
        if config.get("mistake"):
            raise ConfigError("/mistake", "as asked")
        self.failure = config.get("failure", False)
        self.lookback = config.get("lookback", 10)
        self.warmed = 0
        self.ended = 0

    def counters(self):
        return [Counter("seen", "rule-1", True), Counter("ended")]

    def open_topic(self, topic, partitions):
        if self.failure:
            raise ValueError("as asked")
        if topic == "old":
            return TopicPlan(name="new")
        if topic == "bare":
            return Needs(effects=ALL, headers=["do"])
        needs = Needs(
            effects=ALL,
            headers=["do", "note"],
            fields=["$.list[*]", "$.name", "$.absent"],
            field_pointers=True,
            output_topics=["elsewhere"],
            offset=True,
            timestamp=True,
            timestamp_type=True,
            origin=True,
            key=True,
            value=True,
            value_state=True,
            lookback=(self.lookback, 0) if topic == "memory" else None,
        )
        if topic != "lenient":
            return needs
        claim = {"rule": "all", "at": "value$['absent']", "leaves": "nothing"}
        return TopicPlan(needs, lenient_shapes=True, protects=[claim])

    def on_record(self, record):
        self.warmed += record.is_warm_up
        headers = record.headers
        what = headers[0][1].decode() if headers else ""
        if what == "see":
            return Change().add_header("seen", self.seen(record))
        if what == "key":
            return Change().value(record.key)
        if what == "drop":
            return DROP_RECORD
        if what == "reject":
            return Reject("worse", "why")
        if what == "reject, by rule":
            return Reject("odd", "why", 0)
        if what == "reject, unknown":
            return Reject("unknown")
        if what == "field, unknown":
            return Change().field_json(record.fields(3)[0], "1")
        if what == "header, unknown":
            return Change().header(9, None)
        if what == "remove, unknown":
            return Change().remove_header(9)
        if what == "insert, unknown":
            return Change().insert_field(9, 1)
        if what == "count":
            count(1)
        if what == "count, unknown":
            count(2)
        if what == "parts":
            change = Change().key("k2").value("v2").header(1, "x").add_header("more", None).add_header("most", "m")
            return change.timestamp_ms(5).topic("elsewhere").partition_by("p")
        if what == "partition":
            return Change().key(None).remove_header(1).partition(0)
        if what == "fields":
            first, second = record.fields(LIST)[:2]
            return Change().field(first, "new").remove_field(second).insert_field(ABSENT, {})
        if what == "copies":
            return Change().key("one").emit().value(None).emit().drop_original()
        return None

    def end_batch(self):
        self.ended += 1
        count(0)

    def seen(self, record):
        def text(data):
            return "null" if data is None else data.decode()

        def yes(value):
            return "yes" if value else "no"

        places = "".join(f"{place.occurrence}:{place.pointer}:{place.json.decode()};" for place in record.fields(LIST))
        name = record.field(NAME)
        headers = "".join(f"{text(name)}={text(value)};" for name, value in record.headers)
        return (
            f"{record.topic}/{record.partition}@{record.offset} {record.timestamp_ms} "
            f"append={yes(record.timestamp_is_append_time)} origin={record.origin} warm={yes(record.is_warm_up)} "
            f"again={yes(record.is_second_try)} judged={yes(record.is_judged)} warmed={self.warmed} "
            f"ended={self.ended} key={text(record.key)} value={text(record.value)} list={places} "
            f"name={name if isinstance(name, str) else 'null'} headers={headers}"
        )


Transform = export(Alike)

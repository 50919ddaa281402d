"""SDK for Strait plugins in Python.

A plugin is a class with `on_record`, exported by `Transform = export(MyPlugin)` in plugin.py. The
host calls it once per batch; this module turns that into one call of `on_record` per record and
collects the results. Only what `Needs` requests is copied into the guest. plugin.wit defines the
layout of columns and edits. strait_testing.py runs a plugin without Wasm.
"""

from __future__ import annotations

import json
from array import array
from itertools import accumulate

try:
    from componentize_py_types import Err
    from wit_world import exports
    from wit_world.imports import host, types
except ImportError:
    # Outside of a component, in tests.
    from strait_testing import Err, exports, host, types

# True for type checkers only. They take it by its name; to import `typing` would cost memory.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from enum import Enum
    from typing import Any

    class _Link:
        link: str
        source: str
        source_region: str | None
        target: str
        target_region: str | None
        options: list[tuple[int, bytes]]

    class _Topic:
        name: str
        partitions: int

    class _Batch:
        topic: str
        partition: int
        count: int
        base_offset: int
        mode: int
        origins: list[str]
        columns: list[int]
        data: bytes

    class Level(Enum):
        """Levels of `log`."""

        TRACE = 0
        DEBUG = 1
        INFO = 2
        WARN = 3
        ERROR = 4
else:
    Level = host.Level

# Effects of a plugin, for `Plugin.effects` and `Needs(effects=...)`.
DROP, KEY, VALUE, FIELD, HEADER, TIMESTAMP, TOPIC, PARTITION, EMIT, REJECT = (1 << bit for bit in range(10))

_NULL = 0xFFFFFFFF
# Options of a link and of a plan.
_RESIDENCY, _PROTECTS, _SHAPES = 2, 1, 2
# States of a value as a document, for `Record.value_state`; the numbers are those of column 7. Only
# values of the first two were judged, and those of a number that is not here were not: ask
# `Record.is_judged`.
PARSED, IS_NULL, EMPTY, NOT_JSON, NOT_UTF8, TRAILING, NAME_TWICE, TOO_DEEP = range(8)
WRONG_SHAPE, NO_SCHEMA, OTHER_SCHEMA, SEALED = range(8, 12)


class Link:
    """The link that the plugin runs on."""

    def __init__(self, given: _Link) -> None:
        self.link = given.link
        self.source = given.source
        self.source_region = given.source_region
        self.target = given.target
        self.target_region = given.target_region
        # Whether the operator demands residency: whatever cannot be judged must stay where it is,
        # so a plugin of several behaviours takes the strictest one by default.
        self.demands_residency = any(number == _RESIDENCY and bytes(value) == b"\x01" for number, value in given.options)


class Counter:
    """A counter, for `count`. `rule` is the rule that it is of, by the operator's name for it. If
    one that is `expected` counts nothing for many records, Strait reports that (event
    `rule_silent`)."""

    def __init__(self, name: str, rule: str = "", expected: bool = False) -> None:
        self.name = name
        self.rule = rule
        self.expected = expected


class ConfigError(Exception):
    """A mistake in the configuration: a JSON Pointer into it, and a message. Raise it in
    `__init__`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class Plugin:
    """A plugin. There is one object per lane, or one per partition if it is stateful."""

    name: str = ""
    version: str = "0.1.0"
    description: str = ""
    # JSON Schema of the configuration, as a dict. The host validates it before the plugin is
    # created.
    config_schema: dict[str, Any] = {"type": ["object", "null"]}
    # The most that this plugin can ever do.
    effects: int = 0
    # Whether a record that the plugin could not judge must not pass. Set it for a redactor.
    fails_closed: bool = False
    # Codes for `Reject`.
    reject_codes: Sequence[str] = []

    def __init__(self, config: Any, link: Link) -> None:
        """`config` is the configuration as Python values, with secrets resolved."""

    def counters(self) -> Sequence[Counter]:
        """Returns the counters, in the order of the indexes of `count`. Called once, after
        `__init__`."""
        return ()

    def open_topic(self, topic: str, partitions: int) -> Needs | TopicPlan | None:
        """Plans the work on a topic: returns `Needs`, a `TopicPlan`, or None to never see it, which
        costs nothing. Called once per topic. The result must depend only on the configuration and
        the topic. An exception stops the topic's partitions with its text."""
        return None

    def on_record(self, record: Record) -> Action:
        """Judges one record: returns None to pass it, or `DROP_RECORD`, a `Change` or a `Reject`.
        """
        return None

    def end_batch(self) -> None:
        """Ends a batch. Called after its last record. Use it to `count` sums, because a call of the
        host costs more than a record."""


class Needs:
    """The parts of a topic's records that a plugin reads, and the effects it uses. Nothing else is
    delivered."""

    def __init__(
        self,
        *,
        effects: int = 0,
        key: bool = False,
        value: bool = False,
        timestamp: bool = False,
        timestamp_type: bool = False,
        offset: bool = False,
        origin: bool = False,
        headers: Iterable[str | bytes] = (),
        all_headers: bool = False,
        fields: Iterable[str] = (),
        field_pointers: bool = False,
        value_state: bool = False,
        output_topics: Iterable[str] = (),
        value_max_bytes: int = 0,
        lookback: tuple[int, int] | None = None,
    ) -> None:
        """`lookback=(records, millis)` makes the plugin stateful: one object per partition, warmed
        up from the log before it judges. The warm-up covers at most `records` offsets and, if
        `millis` is not 0, at most that age."""
        columns = []
        if offset:
            columns += [1]
        if timestamp:
            columns += [2]
        if key:
            columns += [3, 4]
        if value:
            columns += [5, 6]
        if value_state:
            columns += [7]
        if fields:
            columns += [8, 9, 10]
        if field_pointers:
            columns += [11]
        if headers or all_headers:
            columns += [12, 13, 14, 15, 16]
        if timestamp_type:
            columns += [17]
        if origin:
            columns += [18]
        self._wit = types.Needs(
            columns=columns,
            header_names=[_bytes(name) for name in headers],
            all_headers=all_headers,
            fields=list(fields),
            effects=effects,
            output_topics=list(output_topics),
            value_max_bytes=value_max_bytes,
            lookback=None if lookback is None else types.Lookback(*lookback),
        )


class TopicPlan:
    """The plan of a plugin for one topic. `name` renames the topic (effect TOPIC). The plugin sees
    its records only with `needs`.

    `protects` claims what the plugin leaves of parts of the topic's records, as plugin.wit
    describes it: a list of dicts. Each claim must be true of every record that the plugin lets
    pass. With `lenient_shapes`, values count as parsed in which the path of a field meets something
    that it cannot step into; without it they have the state WRONG_SHAPE."""

    def __init__(
        self,
        needs: Needs | None = None,
        *,
        name: str | None = None,
        protects: Sequence[dict[str, Any]] | None = None,
        lenient_shapes: bool = False,
    ) -> None:
        self.name = name
        self.needs = needs
        self.protects = protects
        self.lenient_shapes = lenient_shapes

    def _options(self) -> list[tuple[int, bytes]]:
        options = []
        if self.protects is not None:
            options.append((_PROTECTS, json.dumps(self.protects, ensure_ascii=False).encode()))
        if self.lenient_shapes:
            options.append((_SHAPES, b"\x01"))
        return options


class Reject:
    """Rejects the record: it goes to quarantine on the source. `code` is one of
    `Plugin.reject_codes`. The reason is for the operator and must not contain personal data.
    `counter`, an index of `Plugin.counters()`, says which rule rejects it: the name of its rule goes
    into the books of quarantine."""

    __slots__ = ("code", "reason", "counter")

    def __init__(self, code: str, reason: str = "", counter: int | None = None) -> None:
        self.code = code
        self.reason = reason
        self.counter = counter


class Drop:
    """The type of `DROP_RECORD`."""

    __slots__ = ()


# Drops the record.
DROP_RECORD = Drop()


class Change:
    """Changes to one record, in order. Parts that no change names stay as they are. Text is written
    as UTF-8; None is null."""

    __slots__ = ("_edits",)

    def __init__(self) -> None:
        self._edits: list[tuple[int, int, bytes | None]] = []

    def key(self, key: str | bytes | None) -> Change:
        """Sets the key."""
        return self._add(1, 0, key)

    def value(self, value: str | bytes | None) -> Change:
        """Sets the value; None makes a tombstone. Excludes field edits of this record."""
        return self._add(2, 0, value)

    def field(self, field: Field, value: Any) -> Change:
        """Replaces a field, one of `Record.fields`, with a Python value."""
        return self._add(3, field.occurrence, json.dumps(value, ensure_ascii=False))

    def field_json(self, field: Field, text: str | bytes) -> Change:
        """Replaces a field with JSON text."""
        return self._add(3, field.occurrence, text)

    def remove_field(self, field: Field) -> Change:
        """Removes a field: the member with its name, or the element of the array."""
        return self._add(3, field.occurrence, None)

    def insert_field(self, index: int, value: Any) -> Change:
        """Inserts a missing field, by its index in `Needs(fields=...)`. Its parent must exist."""
        return self._add(4, index, json.dumps(value, ensure_ascii=False))

    def header(self, index: int, value: str | bytes | None) -> Change:
        """Sets the value of a header, by its index in `Record.headers`."""
        return self._add(5, index, value)

    def remove_header(self, index: int) -> Change:
        """Removes a header, by its index in `Record.headers`."""
        return self._add(6, index, b"")

    def add_header(self, name: str | bytes, value: str | bytes | None) -> Change:
        """Appends a header."""
        name = _bytes(name)
        if value is None:
            return self._add(8, 0, name)
        return self._add(7, len(name), name + _bytes(value))

    def timestamp_ms(self, timestamp_ms: int) -> Change:
        """Sets the timestamp, in milliseconds since the Unix epoch."""
        return self._add(9, 0, timestamp_ms.to_bytes(8, "little", signed=True))

    def topic(self, topic: str) -> Change:
        """Sends the record to a topic that `Needs(output_topics=...)` allows. The partition follows
        the key."""
        return self._add(10, 0, topic)

    def partition(self, partition: int) -> Change:
        """Sends the record to this partition."""
        return self._add(11, partition, b"")

    def partition_by(self, data: str | bytes) -> Change:
        """Sends the record to the partition that Kafka's default partitioner picks for these bytes.
        """
        return self._add(12, 0, data)

    def emit(self) -> Change:
        """Sends a copy with the changes so far. Further changes start again from the original,
        which is sent too unless `drop_original` ends the change."""
        return self._add(14, 0, b"")

    def drop_original(self) -> Change:
        """Drops the original after the copies that `emit` sent. Must be the last change."""
        return self._add(0, 0, b"")

    def _add(self, op: int, arg: int, data: str | bytes | None) -> Change:
        self._edits.append((op, arg, data.encode() if isinstance(data, str) else data))
        return self


# What `on_record` returns.
Action = Change | Reject | Drop | None


class Field:
    """A place in the value where a path of `Needs(fields=...)` matched."""

    __slots__ = ("occurrence", "json", "pointer")

    def __init__(self, occurrence: int, text: bytes, pointer: str | None) -> None:
        # Number among all fields of the record, JSON text as bytes, JSON Pointer (with
        # field_pointers) or None.
        self.occurrence = occurrence
        self.json = text
        self.pointer = pointer

    @property
    def value(self) -> Any:
        """The field as a Python value."""
        return _parse(self.json)


class Record:
    """A record, with the parts that the plugin requested. Valid until `on_record` returns. Access
    to any other part raises an error, because returning None would be wrong."""

    # Columns are decoded for the whole batch on first access, because loops in the interpreter are
    # expensive.
    __slots__ = ("_batch", "_index", "_count", "_columns", "_keys", "_values", "_first", "_texts", "_pointers")

    def __init__(self, batch: _Batch) -> None:
        self._batch = batch
        self._index = 0
        self._columns = _Columns(batch)
        # From the column itself: open_topic is not called again on an instance that replaces a
        # broken one.
        self._count = self._columns.bytes_of(8) // 4 // (batch.count or 1)
        self._keys: list[bytes | None] | None = None
        self._values: list[bytes | None] | None = None
        self._first: list[int] | None = None
        self._texts: list[bytes] = []
        self._pointers: list[bytes] | None = None

    @property
    def topic(self) -> str:
        """The source topic, or the name that an earlier plugin of the chain gave it."""
        return self._batch.topic

    @property
    def partition(self) -> int:
        """The source partition."""
        return self._batch.partition

    @property
    def is_warm_up(self) -> bool:
        """Whether this record is part of a warm-up: what the plugin makes of it is not sent."""
        return self._batch.mode & 1 != 0

    @property
    def is_second_try(self) -> bool:
        """Whether this is a retry, because an earlier call with the record failed."""
        return self._batch.mode & 2 != 0

    @property
    def offset(self) -> int:
        """The source offset. Needs `offset`."""
        return self._batch.base_offset + self._columns.numbers(1, "I", "offset")[self._index]

    @property
    def timestamp_ms(self) -> int:
        """Milliseconds since the Unix epoch, or -1 if there is none. Needs `timestamp`."""
        return self._columns.numbers(2, "q", "timestamp")[self._index]

    @property
    def timestamp_is_append_time(self) -> bool:
        """Whether the source broker set the timestamp. Needs `timestamp_type`."""
        return self._columns.numbers(17, "B", "timestamp_type")[self._index] == 1

    @property
    def origin(self) -> str | None:
        """The cluster where the record was produced; None if it is not known. Needs `origin`."""
        at, origins = self._columns.numbers(18, "I", "origin")[self._index], self._batch.origins
        return origins[at] if at < len(origins) else None

    @property
    def key(self) -> bytes | None:
        """Bytes, or None for a null key. Needs `key`."""
        if self._keys is None:
            self._keys = self._columns.runs(3, 4, "key")
        return self._keys[self._index]

    @property
    def value(self) -> bytes | None:
        """Bytes, or None for a tombstone. Needs `value`."""
        if self._values is None:
            self._values = self._columns.runs(5, 6, "value")
        return self._values[self._index]

    @property
    def value_state(self) -> int:
        """State of the value as a document: PARSED, IS_NULL, ... Needs `value_state`."""
        return self._columns.numbers(7, "B", "value_state")[self._index]

    @property
    def is_judged(self) -> bool:
        """Whether the fields can be trusted, or there is no value. Needs `value_state`."""
        return self.value_state in (PARSED, IS_NULL)

    def field_json(self, field: int) -> bytes | None:
        """Returns the JSON text, as bytes, of the first place where the path at this index matches,
        or None."""
        first = self._first or self._open_fields()
        if not 0 <= field < self._count:
            self._unknown_field(field)
        at = self._index * self._count + field
        start = first[at]
        return None if start == first[at + 1] else self._texts[start]

    def _unknown_field(self, field: int) -> None:
        # The places of another record would follow.
        raise IndexError(f"field {field} is read, and the fields of this topic's needs are {self._count}")

    def field(self, field: int) -> Any:
        """Returns the same as a Python value; None if it is missing or null."""
        text = self.field_json(field)
        return None if text is None else _parse(text)

    def fields(self, field: int) -> Sequence[Field]:
        """Returns every place where the path at this index matches."""
        first = self._first or self._open_fields()
        if not 0 <= field < self._count:
            self._unknown_field(field)
        base = self._index * self._count
        start, end = first[base + field], first[base + field + 1]
        if start == end:
            return ()
        base, texts, pointers = first[base], self._texts, self._pointers
        return [Field(at - base, texts[at], pointers[at].decode() if pointers else None) for at in range(start, end)]

    @property
    def headers(self) -> list[tuple[bytes, bytes | None]]:
        """(name, value) of the declared headers, or all of them, in their order, as bytes. A value
        can be None. Needs `headers`."""
        columns = self._columns
        first, names, values = columns.sums(12, "headers"), columns.runs(13, 14, "headers"), columns.runs(15, 16, "headers")
        start, end = first[self._index], first[self._index + 1]
        return list(zip(names[start:end], values[start:end]))

    def _open_fields(self) -> list[int]:
        columns = self._columns
        self._texts = columns.runs(9, 10, "fields")
        self._pointers = columns.pointers()
        self._first = columns.sums(8, "fields")
        return self._first


class _Columns:
    """Columns of a batch, decoded to lists on first access."""

    __slots__ = ("_data", "_places", "_lists")

    def __init__(self, batch: _Batch) -> None:
        directory = batch.columns
        self._data = batch.data
        self._places = {
            directory[at]: (directory[at + 1], directory[at + 1] + directory[at + 2]) for at in range(0, len(directory), 3)
        }
        self._lists: dict[int, Any] = {}

    def bytes_of(self, number: int) -> int:
        """Returns the size of a column, or 0 if it was not requested."""
        start, end = self._places.get(number, (0, 0))
        return end - start

    def numbers(self, number: int, kind: str, what: str) -> array[int]:
        """Returns a column of integers."""
        known: array[int] | None = self._lists.get(number)
        if known is None:
            known = array(kind)
            known.frombytes(self._part(number, what))
            self._lists[number] = known
        return known

    def sums(self, number: int, what: str) -> list[int]:
        """Returns the prefix sums of a column of counts."""
        known: list[int] | None = self._lists.get(-number)
        if known is None:
            known = self._lists[-number] = list(accumulate(self.numbers(number, "I", what), initial=0))
        return known

    def runs(self, lengths: int, data: int, what: str) -> list[Any]:
        """Returns the byte strings of a column; None is null."""
        known: list[Any] | None = self._lists.get(data)
        if known is None:
            part = self._part(data, what)
            known = self._lists[data] = _cut(part, self.numbers(lengths, "i", what), 0)
        return known

    def pointers(self) -> list[Any] | None:
        """Returns the pointer of every occurrence, or None if they were not requested. Lengths and
        bytes share one column."""
        if 11 not in self._places:
            return None
        part, count = self._part(11, "field_pointers"), self.sums(8, "fields")[-1]
        lengths = array("i")
        lengths.frombytes(part[:4 * count])
        return _cut(part, lengths, 4 * count)

    def _part(self, number: int, what: str) -> bytes:
        place = self._places.get(number)
        if place is None:
            raise LookupError(f"the plugin reads {what}, but its Needs do not request it")
        return self._data[place[0]:place[1]]


def _cut(part: bytes, lengths: array[int], start: int) -> list[Any]:
    """Cuts consecutive byte strings; a length of -1 is null."""
    if -1 not in lengths:
        ends = list(accumulate(lengths, initial=start))
        return [part[a:b] for a, b in zip(ends, ends[1:])]
    pieces: list[bytes | None] = []
    for length in lengths:
        if length < 0:
            pieces.append(None)
        else:
            pieces.append(part[start:start + length])
            start += length
    return pieces


def _parse(text: bytes) -> Any:
    """Converts JSON text, as bytes, to a Python value. A string without escapes, by far the most
    common case, needs no parser."""
    if text[:1] == b'"' and b"\\" not in text:
        return text[1:-1].decode()
    return json.loads(text.decode())


def log(level: Level, message: str) -> None:
    """Writes to Strait's log. At most 64 messages of 1 KiB per batch; they appear once the batch is
    accepted."""
    host.log(level, message)


def count(counter: int, delta: int = 1) -> None:
    """Adds to the counter at an index of `Plugin.counters()`."""
    host.count(counter, delta)


def export(plugin_class: type[Plugin]) -> type:
    """Returns the class that the component exports: `Transform = export(MyPlugin)` in plugin.py."""

    codes = {code: index for index, code in enumerate(plugin_class.reject_codes)}
    # The generated code creates a Transform for each call, so permanent state is here.
    plugin: Any = None

    class Transform(exports.Transform):  # type: ignore[misc]  # made by the build
        def describe(self) -> Any:
            return types.About(
                name=plugin_class.name,
                version=plugin_class.version,
                description=plugin_class.description,
                config_schema=json.dumps(plugin_class.config_schema),
                effects=plugin_class.effects,
                fails_closed=plugin_class.fails_closed,
                reject_codes=list(plugin_class.reject_codes),
                options=[],
            )

        def configure(self, config: str, link: _Link) -> Any:
            nonlocal plugin
            try:
                plugin = plugin_class(json.loads(config), Link(link))
                counters = [types.Counter(each.name, each.rule, each.expected) for each in plugin.counters()]
            except ConfigError as error:
                raise Err([types.ConfigError(error.path, error.message)]) from None
            return types.Ready(counters, [])

        def open_topic(self, topic: _Topic) -> Any:
            try:
                plan = plugin.open_topic(topic.name, topic.partitions)
            except Exception as error:
                raise Err(f"{type(error).__name__}: {error}") from None
            if not isinstance(plan, TopicPlan):
                plan = TopicPlan(plan)
            needs = plan.needs._wit if plan.needs is not None else None
            return types.TopicPlan(plan.name, needs, plan._options())

        def process(self, batch: _Batch) -> Any:
            try:
                return self._process(batch)
            except Exception as error:
                raise Err(_words(error)) from None

        def _process(self, batch: _Batch) -> Any:
            on_record = plugin.on_record
            record = Record(batch)
            ops: list[int] = []
            data: list[bytes] = []
            for index in range(batch.count):
                record._index = index
                action = on_record(record)
                if action is None:
                    continue
                if action is DROP_RECORD:
                    ops += (index, 0, 0, 0)
                elif type(action) is Change:
                    for op, arg, content in action._edits:
                        if content is None:
                            ops += (index, op, arg, _NULL)
                        else:
                            ops += (index, op, arg, len(content))
                            data.append(content)
                elif type(action) is Reject:
                    reason = action.reason.encode()
                    code = codes.get(action.code)
                    if code is None:
                        raise ValueError(f"{action.code!r} is not one of the plugin's reject_codes")
                    if action.counter is not None:
                        ops += (index, 15, action.counter, 0)
                    ops += (index, 13, code, len(reason))
                    data.append(reason)
                else:
                    raise TypeError(f"on_record returned {action!r}, not None, DROP_RECORD, a Change or a Reject")
            plugin.end_batch()
            return types.Edits(ops, b"".join(data))

    return Transform


def _words(error: Exception) -> str:
    """Formats an exception and its place. The traceback module would read sources, and there are no
    files."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" (line {place.tb_lineno} of {place.tb_frame.f_code.co_filename})" if place is not None else ""
    return f"{type(error).__name__}: {error}{where}"


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text

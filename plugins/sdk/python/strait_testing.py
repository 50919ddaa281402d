"""Runs a plugin without Wasm and without a host, for unit tests: records in, edits out.

    from strait_testing import Record, Tester
    from plugin import TidyOrders

    assert Tester(TidyOrders, {}).process(Record(key=b"test-1")) == ["0 drop"]

Run the tests with the SDK on the path: `PYTHONPATH=.:sdk python3 -m unittest tests/test_plugin.py`.
Columns are packed by the layout in plugin.wit, as far as the plugin's needs request them. Fields
are given with each record, because finding them in a value is the host's work.
"""

from __future__ import annotations

import json
import struct
from enum import Enum
from types import SimpleNamespace
from typing import Any


class Err(Exception):
    """An error of the interface, with its payload in `value`."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class _Level(Enum):
    TRACE, DEBUG, INFO, WARN, ERROR = range(5)


# What plugins have said since the process began: (level, message), (counter, delta).
logs: list[tuple[Any, str]] = []
counts: list[tuple[int, int]] = []


def _log(level: Any, message: str) -> None:
    logs.append((level, message))


def _count(counter: int, delta: int) -> None:
    counts.append((counter, delta))


def _made(*names: str) -> Any:
    """Returns a stand-in for a record of the interface."""
    return lambda *given, **named: SimpleNamespace(**dict(zip(names, given)), **named)


# These stand in for the modules that a build makes.
host: Any = SimpleNamespace(Level=_Level, log=_log, count=_count)
types: Any = SimpleNamespace(
    About=_made(),
    ConfigError=_made("path", "message"),
    Counter=_made("name", "rule", "expected"),
    Edits=_made("ops", "data"),
    Lookback=_made("records", "millis"),
    Needs=_made(),
    Ready=_made("counters", "options"),
    TopicPlan=_made("name", "needs", "options"),
)
exports: Any = SimpleNamespace(Transform=object)


class Record:
    """A record to pass to a plugin. `fields` has (index of the path, JSON text) or (index of the
    path, JSON text, pointer), in the order of the paths."""

    def __init__(
        self,
        *,
        key: bytes | None = None,
        value: bytes | None = None,
        state: int | None = None,
        timestamp_ms: int = 1_000,
        headers: list[tuple[bytes, bytes | None]] | None = None,
        fields: list[Any] | None = None,
    ) -> None:
        self.key = key
        self.value = value
        self.state = (1 if value is None else 0) if state is None else state
        self.timestamp_ms = timestamp_ms
        self.headers = headers or []
        self.fields = [(path, text.encode(), "".join(pointer).encode()) for path, text, *pointer in fields or []]


class Tester:
    """A configured plugin, on a link from `aws` in `eu-west-1` to `gcp`, with the topic `orders` of
    six partitions open. Mistakes in the configuration and errors are raised as `Err`."""

    def __init__(self, plugin_class: Any, config: Any, *, residency: bool = False) -> None:
        import strait

        self._transform = strait.export(plugin_class)()
        # The mode of the following batches: 1 warm-up, 2 second try.
        self.mode = 0
        self._offset = 100
        options = [(2, b"\x01")] if residency else []
        link = SimpleNamespace(
            link="aws-to-gcp", source="aws", source_region="eu-west-1", target="gcp", target_region=None, options=options
        )
        self.counters = self._transform.configure(json.dumps(config), link).counters
        self.open("orders", 6)

    def open(self, topic: str, partitions: int) -> Any:
        """Opens a topic for the following records, and returns its plan."""
        plan = self._transform.open_topic(SimpleNamespace(name=topic, partitions=partitions, options=[]))
        self._topic, self._needs = topic, plan.needs
        return plan

    def process(self, *records: Record) -> list[str]:
        """Passes the records in one batch. Returns one line per edit, such as `2 field 0 = "***"`:
        the record's index, the operation, the argument, the bytes."""
        directory: list[int] = []
        data = bytearray()
        for number in self._needs.columns if self._needs else ():
            data += bytes(-len(data) % 8)
            part = _pack(number, len(self._needs.fields), records)
            directory += (number, len(data), len(part))
            data += part
        batch = SimpleNamespace(
            topic=self._topic,
            partition=3,
            count=len(records),
            base_offset=self._offset,
            mode=self.mode,
            options=[],
            origins=["aws"],
            columns=directory,
            data=bytes(data),
        )
        self._offset += len(records)
        edits = self._transform.process(batch)
        return _lines(edits.ops, edits.data)


def _length(data: bytes | None) -> bytes:
    return struct.pack("<i", -1 if data is None else len(data))


def _pack(number: int, paths: int, records: tuple[Record, ...]) -> bytes:
    fields = [field for record in records for field in record.fields]
    headers = [header for record in records for header in record.headers]
    if number == 8:
        counts = [sum(field[0] == path for field in record.fields) for record in records for path in range(paths)]
        return struct.pack(f"<{len(counts)}I", *counts)
    if number == 11:
        return b"".join(_length(field[2]) for field in fields) + b"".join(field[2] for field in fields)
    of_field: dict[int, Any] = {9: lambda field: _length(field[1]), 10: lambda field: field[1]}
    if number in of_field:
        return b"".join(of_field[number](field) for field in fields)
    of_header: dict[int, Any] = {
        13: lambda header: _length(header[0]),
        14: lambda header: header[0],
        15: lambda header: _length(header[1]),
        16: lambda header: header[1] or b"",
    }
    if number in of_header:
        return b"".join(of_header[number](header) for header in headers)
    of_record: dict[int, Any] = {
        1: lambda at, record: struct.pack("<I", at),
        2: lambda at, record: struct.pack("<q", record.timestamp_ms),
        3: lambda at, record: _length(record.key),
        4: lambda at, record: record.key or b"",
        5: lambda at, record: _length(record.value),
        6: lambda at, record: record.value or b"",
        7: lambda at, record: bytes([record.state]),
        12: lambda at, record: struct.pack("<I", len(record.headers)),
        17: lambda at, record: b"\x00",
        18: lambda at, record: bytes(4),
    }
    return b"".join(of_record[number](at, record) for at, record in enumerate(records))


_NAMES = (
    "drop", "key", "value", "field", "insert", "header", "remove header", "add header", "add null header", "timestamp",
    "topic", "partition", "partition by", "reject", "emit", "rule",
)


def _lines(ops: list[int], data: bytes) -> list[str]:
    lines = []
    for at in range(0, len(ops), 4):
        record, op, arg, length = ops[at:at + 4]
        line = f"{record} {_NAMES[op]}"
        if 3 <= op <= 7 or op in (11, 13, 15):
            line += f" {arg}"
        if length == 0xFFFFFFFF:
            lines.append(line + " = null")
            continue
        content, data = data[:length], data[length:]
        if op == 9:
            line += f" = {struct.unpack('<q', content)[0]}"
        elif op not in (0, 6, 11, 14, 15):
            line += f" = {content.decode(errors='backslashreplace')}"
        lines.append(line)
    return lines

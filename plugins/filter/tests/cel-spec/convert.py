#!/usr/bin/env python3
"""Makes cases.jsonl of the conformance cases of the CEL specification.

    go mod download -json cel.dev/expr@v0.26.0    # prints the folder, "Dir"
    python3 plugins/filter/tests/cel-spec/convert.py DIR/tests/simple/testdata
"""

import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# The others test what filter does not have: README.md.
FILES = [
    "basic", "comparisons", "conversions", "fields", "fp_math", "integer_math", "lists", "logic",
    "macros", "parse", "plumbing", "string", "string_ext", "timestamps",
]
TOKEN = re.compile(
    r"""\s+|\#[^\n]*|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|([-+]?[\w.+-]+|[{}\[\]:<>,;/])"""
)
ESCAPES = dict(zip("ntrabfv\\'\"?", b"\n\t\r\a\b\f\v\\'\"?"))


def tokens(text):
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        at = match.end()
        if match.group(1) or match.group(2):
            yield match.group(1) or match.group(2)


def unquoted(token):
    """The bytes of a quoted text."""
    text, out, at = token[1:-1], bytearray(), 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
            continue
        sign, at = text[at + 1], at + 2
        if sign in ESCAPES:
            out.append(ESCAPES[sign])
        elif sign in "xX":
            digits = re.match("[0-9a-fA-F]{1,2}", text[at:]).group()
            out.append(int(digits, 16))
            at += len(digits)
        elif sign in "uU":
            width = 4 if sign == "u" else 8
            out += chr(int(text[at : at + width], 16)).encode()
            at += width
        else:
            digits = re.match("[0-7]{1,3}", text[at - 1 :]).group()
            out.append(int(digits, 8) & 255)
            at += len(digits) - 1
    return bytes(out)


class Message:
    """Reads a message of protobuf's text format to (name, value) pairs."""

    def __init__(self, text):
        self.tokens = list(tokens(text)) + [""]
        self.at = 0

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def takes(self, *signs):
        found = self.tokens[self.at] in signs
        self.at += found
        return found

    def fields(self, end):
        fields = []
        while not self.takes(end):
            name = self.take()
            if name == "[":
                while not self.takes("]"):
                    name += self.take()
            self.takes(":")
            fields.append((name, self.value()))
            self.takes(",", ";")
        return fields

    def value(self):
        if self.takes("{"):
            return self.fields("}")
        if self.takes("["):
            values = []
            while not self.takes("]"):
                values.append(self.value())
                self.takes(",")
            return ("values", values)
        if self.tokens[self.at][0] not in "\"'":
            return self.take()
        text = b""
        while self.tokens[self.at][:1] in ("'", '"'):
            text += unquoted(self.take())
        return text


def all_of(message, name):
    found = []
    for known, value in message:
        if known == name:
            found += value[1] if isinstance(value, tuple) else [value]
    return found


def expected(message):
    """A value as {type: value}, or None for a message that is neither time nor duration."""
    ((kind, value),) = message
    if kind in ("int64_value", "uint64_value"):
        return {kind[:-8]: int(value, 0)}
    if kind == "double_value":
        number = value.lower().replace("infinity", "inf")
        return {"double": number if "n" in number else repr(float(number))}
    if kind == "bool_value":
        return {"bool": value == "true"}
    if kind == "string_value":
        return {"string": value.decode()}
    if kind == "bytes_value":
        return {"bytes": value.hex()}
    if kind == "null_value":
        return {"null": True}
    if kind == "type_value":
        return {"type": value.decode()}
    if kind == "list_value":
        values = [expected(value) for value in all_of(value, "values")]
        return None if None in values else {"list": values}
    if kind == "map_value":
        pairs = [
            [expected(all_of(entry, side)[0]) for side in ("key", "value")]
            for entry in all_of(value, "entries")
        ]
        return None if any(None in pair for pair in pairs) else {"map": pairs}
    if kind == "object_value" and value[0][0].endswith((".Timestamp", ".Duration")):
        parts = [int(dict(value[0][1]).get(part, "0")) for part in ("seconds", "nanos")]
        return {value[0][0].rsplit(".", 1)[1].lower(): parts}
    return None


def main(folder):
    with open(os.path.join(HERE, "cases.jsonl"), "w", encoding="utf-8") as out:
        for file in FILES:
            with open(os.path.join(folder, file + ".textproto"), encoding="utf-8") as source:
                message = Message(source.read()).fields("")
            for section in all_of(message, "section"):
                for test in all_of(section, "test"):
                    names = [file.encode(), *all_of(section, "name"), *all_of(test, "name")]
                    line = {"name": b"/".join(names).decode()}
                    line["expr"] = all_of(test, "expr")[0].decode()
                    if all_of(test, "eval_error"):
                        line["error"] = True
                    else:
                        value = all_of(test, "value") or [[("bool_value", "true")]]
                        line["value"] = expected(value[0])
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")


main(sys.argv[1])

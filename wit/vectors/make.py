#!/usr/bin/env python3
"""Makes canonical.json and pseudonyms.json, from Python's standard library alone.

    python3 wit/vectors/make.py

Shares nothing with the other implementations, which must give the same. The vectors only grow: a
change to one of them is a new scheme.
"""

import base64
import hashlib
import hmac
import json
import os
from decimal import Decimal

HERE = os.path.dirname(os.path.abspath(__file__))


def number(text):
    """RFC 8785, but integers of 64 bits are exact."""
    value = Decimal(text)
    if value == value.to_integral_value() and abs(value.adjusted()) < 40 and -(2**63) <= value < 2**64:
        return str(int(value))
    double = float(text)
    if double == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(double)).normalize().as_tuple()
    digits = "".join(map(str, digits))
    point = len(digits) + exponent
    if len(digits) <= point <= 21:
        out = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        out = digits[:point] + "." + digits[point:]
    elif -6 < point <= 0:
        out = "0." + "0" * -point + digits
    else:
        rest = "." + digits[1:] if len(digits) > 1 else ""
        out = digits[0] + rest + "e" + format(point - 1, "+d")
    return ("-" if sign else "") + out


class Number(str):
    """A number as it was written."""


def canonical(value):
    if isinstance(value, Number):
        return number(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in names) + "}"
    return json.dumps(value)


def parse(text):
    return json.loads(text, parse_int=Number, parse_float=Number)


def content(text):
    value = parse(text)
    plain = isinstance(value, str) and not isinstance(value, Number)
    return (value if plain else canonical(value)).encode()


def hkdf(secret, salt, info, length):
    key = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()[:length]


CANONICAL = [
    # Numbers: RFC 8785, appendix B, by spelling.
    *["0", "-0", "0.0", "-0.0e5", "5e-324", "-5e-324", "1.7976931348623157e308", "-1.7976931348623157e308"],
    *["9007199254740992", "-9007199254740992", "295147905179352830000", "9.999999999999997e22", "1e23"],
    *["1.0000000000000001e23", "999999999999999700000", "999999999999999900000", "1e21", "9.999999999999997e-7"],
    *["0.000001", "333333333.3333332", "333333333.33333325", "333333333.3333333", "333333333.3333334"],
    *["333333333.33333343", "-0.0000033333333333333333", "1424953923781206.2", "1e-400", "123e-3", "1E2"],
    # Integers of 64 bits, in any spelling; and beyond.
    *["400", "400.0", "4e2", "0.4e3", "40000e-2", "9007199254740993", "9007199254740993.0", "9007199254740993000e-3"],
    *["9223372036854775807", "-9223372036854775808", "18446744073709551615", "1.8446744073709551615e19"],
    *["18446744073709551616", "-9223372036854775809", "100000000000000000000", "1e19", "1e20", "12345678901234567890123"],
    # Texts.
    '"plain"', '"\\u20ac$\\u000f\\nA\'B\\"\\\\\\"/\\/"', '"\\b\\t\\f\\r\\u001f\\u007f\\u2028"', '"\\ud83d\\ude00"', '"é"',
    # Names are sorted by UTF-16 code units.
    '{"\\u20ac":"Euro","\\r":"CR","\\ufb33":"Hebrew","1":"One","\\ud83d\\ude00":"Smiley","\\u0080":"Ctl","\\u00f6":"o"}',
    ' { "b" : [ 1.0 , { } , [ ] , null , true , false ] , "a" : { "z" : 1e0 , "y" : "" } } ',
    '{"a":{"a":1},"aa":2,"":3}',
]

SECRET = "0123456789abcdef"
LONG = "a secret of more than sixty-four bytes, so that HMAC would hash it first: 0123456789"


def pseudonym(secret, domain, key_id="", prefix="", value=None, octets=None):
    key = hkdf(secret.encode(), b"strait.pseudonym.v1", domain.encode(), 32)
    data = content(value) if value is not None else bytes.fromhex(octets)
    digest = hmac.new(key, data, hashlib.sha256).digest()
    start = prefix + (key_id + "." if key_id else "")
    made = {"secret": secret, "domain": domain}
    made |= {"json": value} if value is not None else {"bytes": octets}
    return made | {
        "prefix": prefix,
        "key_id": key_id,
        "key": key.hex(),
        "hex": start + digest.hex(),
        "base64url": start + base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
    }


PSEUDONYMS = [
    pseudonym(SECRET, "value$['email']", value='"eve@example.org"'),
    pseudonym(SECRET, "value$['email']", value='"\\u0065ve@example.org"'),
    pseudonym(SECRET, "customer", value='"eve@example.org"'),
    pseudonym(SECRET, "customer", octets=b"eve@example.org".hex()),
    pseudonym(SECRET, "customer", key_id="2026-11", prefix="c-", value='"eve@example.org"'),
    pseudonym(LONG, "customer", value='"eve@example.org"'),
    *[pseudonym(SECRET, "value$['id']", value=text) for text in ["400", "400.0", "4e2", '"400"', "9007199254740993"]],
    *[pseudonym(SECRET, "d", value=text) for text in ["true", '""', '{"b":1,"a":2.50}', ' [ 1 , "é" ] ', '"\\ud83d\\ude00"']],
    *[pseudonym(SECRET, "key", octets=octets) for octets in ["", "ff00", "00" * 100]],
]

KEY_IDS = [{"secret": text, "key_id": hkdf(text.encode(), b"strait.key-id.v1", b"", 8).hex()} for text in (SECRET, LONG)]


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="ascii") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


write("canonical.json", [{"json": text, "canonical": canonical(parse(text))} for text in CANONICAL])
write("pseudonyms.json", {"pseudonyms": PSEUDONYMS, "key_ids": KEY_IDS})

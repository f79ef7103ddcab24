"""How sound contents become other ones: plain data, text, tables and bytes, by a seeded `Random`.

Every function takes (rng, content) and gives a content; what it understands of the content
(JSON, cells, tokens) stays whole most of the time, so that readers are tried behind their parser.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutate = Callable[[Random, bytes], bytes]


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


VALUES: Sequence[Any] = (
    *(None, True, False, 0, 1, -1, 2, 7, 12, 0.0, -0.0, 0.5, 1.5, 1e-300, 5e-324, 1e308, -1e308),
    *(2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**9, 10**20, 10**400),
    *(math.nan, math.inf, -math.inf, "", " ", "a", "0", "-1", "1e999", "nan", "None", "true"),
    *("9" * 5000, "a" * 10_000, "\x00", "\x1b[31mred\x1b[0m", "two\nlines", "=cmd()|' /C x'!A0"),
    *("<script>alert(1)</script>", "../../x", "/dev/zero", "\ud800", "e\u0301", "\u202etxt", "é"),
    *([], {}, [[]], [None], {"": 0}, {"a": {}}, [0] * 1000, [1, 2, 3], ["a", "b"]),
    *(_nested(15), _nested(150)),
)
"""What stands in files that somebody made on purpose, or that a bug wrote."""

TOKENS: Sequence[str] = tuple(
    value if isinstance(value, str) else json.dumps(value) for value in VALUES
)
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
_EDITS_COUNTS = (1, 1, 1, 2, 2, 3, 5)


def mutate_bytes(rng: Random, content: bytes) -> bytes:
    """Flipped bits, overwritten numbers, runs removed, repeated and inserted, cut-off ends."""
    data = bytearray(content)
    for _ in range(rng.choice(_EDITS_COUNTS)):
        at = rng.randrange(len(data) + 1)
        length = min(rng.choice((1, 1, 2, 4, 8, 16, 100, 1000)), len(data) - at)
        kind = rng.randrange(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            number, (order, width) = rng.choice(_EXTREMES), rng.choice(("<H", "<I", "<Q", ">I"))
            size = struct.calcsize(order + width)
            data[at : at + size] = struct.pack(order + width, number & (256**size - 1))
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 5:
            data[at:at] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
        elif kind == 6:
            data[at : at + length] = rng.choice((bytes(length), b"\xff" * length))
        elif rng.random() < 0.5:
            del data[at:]
        else:
            data += rng.choice((bytes(1), bytes(1000), rng.randbytes(20), bytes(data[:100])))
    return bytes(data)


def flip_bit(rng: Random, content: bytes) -> bytes:
    """One bit of them, as a disk or memory loses it."""
    data = bytearray(content)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def mutate_plain(rng: Random, data: Any, values: Sequence[Any] = VALUES) -> Any:
    """Plain data with some of its values and keys replaced, moved, repeated or removed."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice(_EDITS_COUNTS)):
        holder = {"top": data}
        places = list(_places(holder))
        parent, key = rng.choice(places)
        kind, old = rng.randrange(10), parent[key]
        if kind <= 2:
            parent[key] = copy.deepcopy(rng.choice(values))
        elif kind == 3:
            other, at = rng.choice(places)
            parent[key] = copy.deepcopy(other[at])
        elif kind == 4 and parent is not holder:
            del parent[key]
        elif kind == 5 and isinstance(parent, dict) and parent is not holder:
            name = rng.choice((key + "x", key[:-1], key.upper(), "", rng.choice(list(parent))))
            parent[name] = parent.pop(key)
        elif kind == 6 and isinstance(old, list):
            parent[key] = old * rng.choice((0, 2, 40)) if len(old) < 2000 else old[:1]
        elif kind == 7 and isinstance(old, list):
            rng.shuffle(old)
        elif isinstance(old, str):
            parent[key] = _nudged_text(rng, old)
        elif isinstance(old, int | float):
            parent[key] = _nudged_number(rng, old)
        else:
            parent[key] = rng.choice(([old], {"a": old}))
        data = holder["top"]
    return data


def _places(value: Any) -> Any:
    """(holder, key) of everything inside, from the outside in; 5,000 at most are enough."""
    stack, count = [value], 0
    while stack and count < 5000:
        holder = stack.pop()
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, inner in items:
            yield holder, key
            count += 1
            if isinstance(inner, dict | list):
                stack.append(inner)


def _nudged_number(rng: Random, value: float) -> Any:
    changes: list[Callable[[Any], Any]] = [
        lambda v: v + 1,
        lambda v: v - 1,
        lambda v: -v,
        lambda v: v * 2,
        lambda v: v * 10**9,
        lambda v: v / 1000,
        lambda v: str(v)[:100],
        lambda v: bool(v),
        lambda v: float(v),
    ]
    try:
        return rng.choice(changes)(value)
    except OverflowError:
        return value


def _nudged_text(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    token = rng.choice(TOKENS)
    return rng.choice(
        (text[:at], text[:at] + token + text[at:], text * 2, text[:at] + text[at + 1 :])
    )


def mutate_json(rng: Random, content: bytes) -> bytes:
    """Mostly JSON still; sometimes with a word, or bytes, that JSON does not have."""
    if rng.random() < 0.15:
        return mutate_bytes(rng, content)
    text = json.dumps(mutate_plain(rng, json.loads(content)), indent=rng.choice((None, 1)))
    if rng.random() < 0.1:
        words = (*TOKENS, "9" * 60_000, "[" * 100_000, '{"a":' * 100_000, "1e99999", "Infinity")
        return mutate_text(rng, text.encode(), words)
    return text.encode()


_WORD = re.compile(r"[\w.+-]+")


def mutate_text(rng: Random, content: bytes, words: Sequence[str] = TOKENS) -> bytes:
    """Words replaced by others of the text or of `words`; lines removed, repeated, indented."""
    text = content.decode("utf-8", "surrogateescape")
    for _ in range(rng.choice(_EDITS_COUNTS)):
        kind = rng.randrange(8)
        found = list(_WORD.finditer(text))
        lines = text.split("\n")
        line = rng.randrange(len(lines))
        if kind <= 2 and found:
            word = rng.choice(found)
            other = rng.choice(words) if rng.random() < 0.8 else rng.choice(found)[0]
            text = text[: word.start()] + other + text[word.end() :]
            continue
        if kind == 3:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(words) + text[at:]
            continue
        if kind == 4:
            del lines[line]
        elif kind == 5:
            lines.insert(rng.randrange(len(lines) + 1), lines[line])
        elif kind == 6:
            lines[line] = rng.choice(("  ", "\t", "- ", "")) + lines[line].strip()
        else:
            at = rng.randrange(len(text) + 1)
            lines = (text[:at] + text[min(len(text), at + rng.randrange(1, 9)) :]).split("\n")
        text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape")


def mutate_csv(rng: Random, content: bytes) -> bytes:
    """Cells, rows and columns of a table replaced, moved, repeated or removed."""
    if rng.random() < 0.15:
        return rng.choice((mutate_bytes, mutate_text))(rng, content)
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for _ in range(rng.choice(_EDITS_COUNTS)):
        if not rows:
            break
        row = rng.choice(rows)
        column = rng.randrange(max(map(len, rows)) or 1)
        kind = rng.randrange(9)
        if kind <= 3 and row:
            row[rng.randrange(len(row))] = rng.choice((*TOKENS, *row))
        elif kind == 4:
            rows.remove(row)
        elif kind == 5:
            rows += [list(row) for _ in range(rng.choice((1, 40)))]
        elif kind == 6:
            for cells in rows:
                del cells[column : column + 1]
        elif kind == 7:
            for cells in rows:
                cells.insert(column, rng.choice((*cells, *TOKENS)))
        else:
            del row[column:]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=rng.choice(("\n", "\r\n"))).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def mutate_safetensors(rng: Random, content: bytes) -> bytes:
    """The header's JSON with the right length before it, metadata inside it, or any bytes."""
    size = int.from_bytes(content[:8], "little")
    header, arrays = content[8 : 8 + size], content[8 + size :]
    if (choice := rng.random()) < 0.2:
        return mutate_bytes(rng, content)
    if choice < 0.3:
        return content[: 8 + size] + mutate_bytes(rng, arrays)
    if choice < 0.4:
        header = mutate_bytes(rng, header)
    elif choice < 0.6:
        header = mutate_json(rng, header)
    else:
        document = json.loads(header)
        about = document["__metadata__"]
        name = rng.choice(list(about))
        about[name] = mutate_json(rng, about[name].encode()).decode("utf-8", "replace")
        header = json.dumps(document).encode()
    return len(header).to_bytes(8, "little") + header + arrays

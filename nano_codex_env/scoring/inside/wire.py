"""Values on the pipe between the tests and the code under test: exact builtin types, or a handle, never an object.

A value is JSON: `null`, a truth value, a number or a string as it is; other plain data a list that begins with a
letter; what is no plain data an object, as `{"o": 7}`, the handle of the candidate's object number 7. Both ends read
strictly: what is none of these is an error of the other end.
"""

import datetime
import decimal
import fractions
import json
import math
import os
import pathlib
import uuid
from collections import namedtuple
from collections.abc import Callable
from typing import Any

DEEP = 200
_BUILTIN = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, type(None))
CLASSES = {
    f"{kind.__module__}.{kind.__qualname__}": kind
    for kind in (*_BUILTIN, object, decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.Path, pathlib.PurePath)
} | {f"datetime.{name}": getattr(datetime, name) for name in ("date", "datetime", "time", "timedelta", "timezone")}
_RICHER: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    datetime.datetime: lambda v: (v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.tzinfo),
    datetime.date: lambda v: (v.year, v.month, v.day),
    datetime.time: lambda v: (v.hour, v.minute, v.second, v.microsecond, v.tzinfo),
    datetime.timedelta: lambda v: (v.days, v.seconds, v.microseconds),
    datetime.timezone: lambda v: (v.utcoffset(None),),
    decimal.Decimal: lambda v: (str(v),),
    fractions.Fraction: lambda v: (v.numerator, v.denominator),
    uuid.UUID: lambda v: (str(v),),
    pathlib.PosixPath: lambda v: (str(v),),
    pathlib.PurePosixPath: lambda v: (str(v),),
}
_MADE = {kind.__name__: kind for kind in _RICHER}
_SEQUENCES: dict[str, Callable[[list[Any]], Any]] = {"l": list, "t": tuple, "s": set, "f": frozenset}
_BASES = (str, bytes, int, float)


class UnsendableError(Exception):
    """A value that has no place on the wire."""


def encode(value: Any, other: Callable[[Any], Any], depth: int = 0) -> Any:
    """`value` as JSON; `other` encodes, or refuses, what is no plain data."""
    if depth > DEEP:
        raise UnsendableError("nested too deeply")
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else ["float", repr(value)]
    if kind in (bytes, bytearray):
        return ["b" if kind is bytes else "a", value.decode("latin-1")]
    if kind is complex:
        return ["c", repr(value.real), repr(value.imag)]
    if kind in _RICHER and not getattr(value, "fold", 0):
        return ["x", kind.__name__, [encode(item, other, depth + 1) for item in _RICHER[kind](value)]]
    if kind is type and CLASSES.get(name := f"{value.__module__}.{value.__qualname__}") is value:
        return ["k", name]
    return _container(value, other, depth)


def _container(value: Any, other: Callable[[Any], Any], depth: int) -> Any:
    """Lists, sets, dicts and what is made of them; what only adds to a builtin type goes as that."""
    kind = type(value)
    ours = kind.__module__ in ("builtins", "collections")
    if isinstance(value, dict) and ours:
        pairs = [[encode(k, other, depth + 1), encode(v, other, depth + 1)] for k, v in dict.items(value)]
        return ["d", pairs]
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return ["n", kind.__name__, list(kind._fields), [encode(item, other, depth + 1) for item in value]]
    for letter, make in _SEQUENCES.items():
        if isinstance(value, make) and ours:  # type: ignore[arg-type]
            items = [encode(item, other, depth + 1) for item in make.__iter__(value)]  # type: ignore[attr-defined]
            return [letter, sorted(items, key=json.dumps) if letter in "sf" else items]
    for base in _BASES:
        if isinstance(value, base) and not hasattr(kind, "__members__"):
            plain = base.__add__(value, base())  # type: ignore[operator]
            return encode(plain, other, depth + 1)
    return other(value)


def decode(data: Any, other: Callable[[dict[str, Any]], Any], depth: int = 0) -> Any:
    """The value that `data` stands for; `other` reads what is no plain data.

    Raises:
        ValueError, TypeError: it stands for none.
    """
    if data is None or type(data) in (bool, int, str, float):
        return data
    if type(data) is dict:
        return other(data)
    if type(data) is not list or not data or type(data[0]) is not str or depth > DEEP:
        raise ValueError("no value")
    letter, *rest = data
    if letter in _SEQUENCES:
        return _SEQUENCES[letter]([decode(item, other, depth + 1) for item in rest[0]])
    if letter == "d":
        return {decode(k, other, depth + 1): decode(v, other, depth + 1) for k, v in rest[0]}
    if letter in ("b", "a"):
        return (bytes if letter == "b" else bytearray)(str(rest[0]).encode("latin-1"))
    if letter == "float":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[rest[0]]
    if letter == "c":
        return complex(float(rest[0]), float(rest[1]))
    if letter == "k":
        return CLASSES[rest[0]]
    items = [decode(item, other, depth + 1) for item in rest[-1]] if letter in ("x", "n") else []
    if letter == "x":
        return _MADE[rest[0]](*items)
    if letter == "n":
        return namedtuple(str(rest[0]), [str(name) for name in rest[1]], rename=True)(*items)
    raise ValueError("no value")


def stay_on(cpu: int) -> None:
    """Run on this CPU from here on, if it may be had.

    The two ends wait for each other in turn. On one CPU that is a switch of some 8 us; to wake another CPU costs 100.
    """
    if cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {cpu})


def current_cpu() -> int:
    """The CPU that this process runs on now (field 39 of proc_pid_stat(5))."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[36])


class Line:
    """One JSON value a line, in both directions, over two descriptors."""

    def __init__(self, read: int, write: int) -> None:
        self._in = os.fdopen(read, "rb")
        self._write = write

    def send(self, value: Any) -> None:
        """Write one value."""
        data = json.dumps(value).encode() + b"\n"
        while data:
            data = data[os.write(self._write, data) :]

    def receive(self) -> Any:
        """Read the next value.

        Raises:
            EOFError: the other end is gone.
            ValueError: it is no JSON, or too long.
        """
        line = self._in.readline(64 << 20)
        if not line:
            raise EOFError("the other process is gone")
        return json.loads(line.decode())

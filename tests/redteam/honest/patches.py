"""Right patches of unusual shape: four small libraries, and for each patch the whole modules that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nano_codex_env import Task
from nano_codex_env.diff import File, file_diff
from nano_codex_env.tasks.libraries import ROOT
from tests.conftest import git
from tests.rewards.patches import Files, patch


@dataclass(frozen=True)
class Library:
    """A library with bugs, and hidden tests that all fail but for one."""

    name: str
    parts: Files
    """Name -> the source of a function or class, as the reference has it."""
    bugs: Files
    """The parts that the base has otherwise."""
    hidden: str
    """The test module."""
    fail: tuple[str, ...]
    """FAIL_TO_PASS, without the file's name."""
    keep: tuple[str, ...]
    """PASS_TO_PASS, likewise."""

    @property
    def base(self) -> str:
        """The module with its bugs."""
        return _module({**self.parts, **self.bugs})

    @property
    def test_file(self) -> str:
        """The hidden file."""
        return f"tests/test_{self.name}.py"

    def patch(self, files: Files) -> str:
        """The patch that gives these files their texts."""
        return patch({f"{self.name}.py": self.base}, files)

    def honest(self, name: str, head: str = "", **parts: str) -> Honest:
        """A right patch that writes these parts in another way."""
        return Honest(name, self, {f"{self.name}.py": _module({**self.parts, **parts}, head)})

    def make_task(self, folder: Path) -> Task:
        """The task over a new repository in `folder`."""
        folder.mkdir(parents=True)
        (folder / f"{self.name}.py").write_text(self.base)
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "first")
        return Task(
            instance_id=f"honest-{self.name}",
            repo=str(folder),
            base_commit=git(folder, "rev-parse", "HEAD"),
            problem_statement="repair the library",
            patch=self.honest("the reference").patch,
            test_patch=patch({}, {self.test_file: self.hidden}),
            FAIL_TO_PASS=tuple(f"{self.test_file}::{test}" for test in self.fail),
            PASS_TO_PASS=tuple(f"{self.test_file}::{test}" for test in self.keep),
        )


@dataclass(frozen=True)
class Honest:
    """One right patch."""

    id: str
    library: Library
    files: Files
    """Path -> the whole text."""

    @property
    def patch(self) -> str:
        """In git's format."""
        return self.library.patch(self.files)


def _module(parts: Files, head: str = "") -> str:
    """A module of these functions and classes."""
    return "\n\n".join([*([head] if head else []), *parts.values()])


# Collections: what is returned is iterated, indexed and compared.

_WORDS = {
    "evens": "def evens(numbers):\n    return [n for n in numbers if n % 2 == 0]\n",
    "lengths": "def lengths(words):\n    return {word: len(word) for word in words}\n",
    "sizes": "def sizes(words):\n    return [len(word) for word in words]\n",
    "first": "def first(words):\n    return words[0]\n",
}
WORDS = Library(
    "words",
    parts=_WORDS,
    bugs={
        "evens": "def evens(numbers):\n    return [n for n in numbers if n % 2]\n",
        "lengths": "def lengths(words):\n    return {word: 0 for word in words}\n",
        "sizes": "def sizes(words):\n    return [len(words)] * len(words)\n",
    },
    hidden="""from words import evens, first, lengths, sizes


def test_evens():
    assert list(evens([1, 2, 3, 4])) == [2, 4]
    assert list(evens([7])) == []


def test_lengths():
    assert lengths(["a", "bb"]) == {"a": 1, "bb": 2}
    assert lengths(["ccc"])["ccc"] == 3


def test_sizes():
    found = sizes(["aaaa", "bb", "ccc"])
    assert found[0] == 4
    assert len(found) == 3
    assert sorted(found) == [2, 3, 4]


def test_first():
    assert first(["x", "y"]) == "x"
""",
    fail=("test_evens", "test_lengths", "test_sizes"),
    keep=("test_first",),
)


_COLLECTIONS = [
    WORDS.honest("generator", evens="def evens(numbers):\n    yield from (n for n in numbers if not n & 1)\n"),
    WORDS.honest("filter-object", evens="def evens(numbers):\n    return filter(lambda n: n % 2 == 0, numbers)\n"),
    WORDS.honest(
        "dict-subclass",
        lengths="class Lengths(dict):\n    pass\n\n\ndef lengths(words):\n"
        "    return Lengths((word, len(word)) for word in words)\n",
    ),
    WORDS.honest(
        "list-subclass",
        sizes="class Sizes(list):\n    pass\n\n\ndef sizes(words):\n    return Sizes(map(len, words))\n",
    ),
    WORDS.honest(
        "defaultdict",
        "from collections import defaultdict\n",
        lengths="def lengths(words):\n    found = defaultdict(int)\n    for word in words:\n"
        "        found[word] = len(word)\n    return found\n",
    ),
    WORDS.honest("tuple-of-map", sizes="def sizes(words):\n    return tuple(map(len, words))\n"),
    WORDS.honest(
        "mapping-proxy",
        "from types import MappingProxyType\n",
        lengths="def lengths(words):\n    return MappingProxyType({word: len(word) for word in words})\n",
    ),
    WORDS.honest(
        "numpy-like",
        sizes='''class Truth:
    def __init__(self, value):
        self.value = value

    def __bool__(self):
        return self.value


class Scalar:
    """A number as arrays hold it: every comparison gives an object of its own."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return Truth(self.value == getattr(other, "value", other))

    def __lt__(self, other):
        return Truth(self.value < getattr(other, "value", other))

    __hash__ = None


class Array:
    def __init__(self, values):
        self.values = [Scalar(value) for value in values]

    def __array__(self, dtype=None, copy=None):
        raise TypeError("there is no numpy here")

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]

    def __eq__(self, other):
        return Array([a == b for a, b in zip(self.values, other)])

    def __bool__(self):
        raise ValueError("the truth value of an array is ambiguous")


def sizes(words):
    return Array(len(word) for word in words)
''',
    ),
    WORDS.honest(
        "user-dict",
        "from collections import UserDict\n",
        lengths="def lengths(words):\n    return UserDict({word: len(word) for word in words})\n",
    ),
    WORDS.honest(
        "chain-map",
        "from collections import ChainMap\n",
        lengths="def lengths(words):\n    return ChainMap(*({word: len(word)} for word in words))\n",
    ),
]


# Output and call-backs.

_SPEAK = {
    "show": "def show(values):\n    print(*values)\n",
    "each": "def each(values, see):\n    for value in values:\n        see(value)\n",
    "quiet": "def quiet():\n    return None\n",
}
SPEAK = Library(
    "speak",
    parts=_SPEAK,
    bugs={
        "show": "def show(values):\n    print(values)\n",
        "each": "def each(values, see):\n    see(values)\n",
    },
    hidden="""from speak import each, quiet, show


def test_show(capfd):
    show([1, 2])
    assert capfd.readouterr().out == "1 2\\n"


def test_each():
    got = []
    each([1, 2, 3], got.append)
    assert sorted(got) == [1, 2, 3]


def test_quiet(capfd):
    assert quiet() is None
    assert capfd.readouterr().out == ""
""",
    fail=("test_show", "test_each"),
    keep=("test_quiet",),
)


_OUTPUT = [
    SPEAK.honest(
        "stdout-buffer",
        "import sys\n",
        show="def show(values):\n    sys.stdout.flush()\n"
        '    sys.stdout.buffer.write((" ".join(map(str, values)) + "\\n").encode())\n    sys.stdout.buffer.flush()\n',
    ),
    SPEAK.honest(
        "thread-pool",
        "from concurrent.futures import ThreadPoolExecutor\n",
        each="def each(values, see):\n    with ThreadPoolExecutor() as pool:\n        list(pool.map(see, values))\n",
    ),
    SPEAK.honest(
        "os-write",
        "import os\n",
        show='def show(values):\n    os.write(1, (" ".join(map(str, values)) + "\\n").encode())\n',
    ),
    SPEAK.honest(
        "logs-to-stderr",
        "import logging\nimport sys\n\nlogging.basicConfig(stream=sys.stderr, level=logging.DEBUG)\n"
        "logger = logging.getLogger(__name__)\n",
        show='def show(values):\n    logger.error("FAILED to say less than %s", values)\n    print(*values)\n',
        each="def each(values, see):\n    for value in values:\n        logger.info('value %s', value)\n"
        "        see(value)\n",
    ),
]


# Values: numbers, texts, bytes, errors.

_STOCK = {
    "total": "def total(prices):\n    return sum(map(float, prices))\n",
    "span": "def span(values):\n    return min(values), max(values)\n",
    "counts": "def counts(text):\n    return {char: text.count(char) for char in text}\n",
    "label": 'def label(number):\n    return f"item-{number:02}"\n',
    "level": 'def level(name):\n    return {"low": 1, "middle": 2, "high": 3}[name]\n',
    "pack": "def pack(values):\n    return bytes(values)\n",
    "take": "def take(shelf, name):\n    if name not in shelf:\n        raise KeyError(f'no {name}')\n"
    "    return shelf[name]\n",
    "seconds": 'def seconds(text):\n    units = {"h": 3600, "m": 60}\n'
    "    return sum(int(part[:-1]) * units[part[-1]] for part in text.split())\n",
    "version": "def version():\n    return 2\n",
}
STOCK = Library(
    "stock",
    parts=_STOCK,
    bugs={
        "total": "def total(prices):\n    return sum(map(float, prices[1:]))\n",
        "span": "def span(values):\n    return max(values), min(values)\n",
        "counts": "def counts(text):\n    return {char: 1 for char in text}\n",
        "label": 'def label(number):\n    return f"item-{number}"\n',
        "level": 'def level(name):\n    return {"low": 1, "middle": 2, "high": 9}[name]\n',
        "pack": "def pack(values):\n    return bytes(values[:-1])\n",
        "take": "def take(shelf, name):\n    return shelf[name]\n",
        "seconds": "def seconds(text):\n    return 0\n",
    },
    hidden="""import pytest

from stock import counts, label, level, pack, seconds, span, take, total, version


def test_total():
    assert total(["1.50", "2.25"]) == 3.75


def test_span():
    low, high = span([3, 1, 2])
    assert (low, high) == (1, 3)
    assert span([7, 9]) == (7, 9)


def test_counts():
    assert counts("abca") == {"a": 2, "b": 1, "c": 1}


def test_label():
    assert label(7) == "item-07"
    assert label(12).upper() == "ITEM-12"


def test_level():
    assert level("high") == 3
    assert level("low") == 1


def test_pack():
    assert pack([66, 67, 65]) == b"BCA"


def test_take():
    with pytest.raises(KeyError, match="no nail"):
        take({"screw": 1}, "nail")


@pytest.mark.parametrize(("text", "expected"), [("1h", 3600), ("2m", 120), ("1h 30m", 5400)])
def test_seconds(text, expected):
    assert seconds(text) == expected


def test_version():
    assert version() == 2
""",
    fail=(
        "test_total",
        "test_span",
        "test_counts",
        "test_label",
        "test_level",
        "test_pack",
        "test_take",
        "test_seconds[1h-3600]",
        "test_seconds[2m-120]",
        "test_seconds[1h 30m-5400]",
    ),
    keep=("test_version",),
)


_VALUES = [
    STOCK.honest(
        "decimal-and-fraction",
        "from decimal import Decimal\nfrom fractions import Fraction\n",
        total="def total(prices):\n    return sum(map(Decimal, prices), Decimal())\n",
        seconds='def seconds(text):\n    units = {"h": Fraction(3600), "m": Fraction(60)}\n'
        "    return sum(Fraction(part[:-1]) * units[part[-1]] for part in text.split())\n",
    ),
    STOCK.honest(
        "named-tuple",
        "from typing import NamedTuple\n",
        span="class Span(NamedTuple):\n    low: int\n    high: int\n\n\ndef span(values):\n"
        "    values = sorted(values)\n    return Span(values[0], values[-1])\n",
    ),
    STOCK.honest(
        "ordered-dict-and-counter",
        "from collections import Counter, OrderedDict\n",
        counts="def counts(text):\n    return OrderedDict(sorted(Counter(text).items()))\n",
    ),
    STOCK.honest(
        "str-subclass",
        label="class Label(str):\n    def __new__(cls, number):\n"
        '        return super().__new__(cls, f"item-{number:02}")\n'
        "\n\ndef label(number):\n    return Label(number)\n",
    ),
    STOCK.honest(
        "int-subclass-with-own-equality",
        seconds='''class Seconds(int):
    """Equal to numbers of seconds, and to texts as `seconds` reads them."""

    def __eq__(self, other):
        return int(self) == int(seconds(other) if isinstance(other, str) else other)

    def __hash__(self):
        return hash(int(self))


def seconds(text):
    units = {"h": 3600, "m": 60}
    return Seconds(sum(int(part[:-1]) * units[part[-1]] for part in text.split()))
''',
    ),
    STOCK.honest(
        "int-enum",
        "from enum import IntEnum\n",
        level="class Level(IntEnum):\n    LOW = 1\n    MIDDLE = 2\n    HIGH = 3\n\n\ndef level(name):\n"
        "    return Level[name.upper()]\n",
    ),
    STOCK.honest(
        "bytearray", pack="def pack(values):\n    out = bytearray()\n    out.extend(values)\n    return out\n"
    ),
    STOCK.honest(
        "memoryview",
        "from array import array\n",
        pack='def pack(values):\n    return memoryview(array("B", values))\n',
    ),
    STOCK.honest(
        "error-subclass",
        take="class OutOfStock(KeyError):\n    def __init__(self, name):\n        super().__init__(name)\n"
        "        self.name = name\n\n    def __str__(self):\n        return f'no {self.name}'\n\n\n"
        "def take(shelf, name):\n    try:\n        return shelf[name]\n    except KeyError:\n"
        "        raise OutOfStock(name) from None\n",
    ),
    STOCK.honest(
        "regular-expression",
        "import re\n",
        seconds='def seconds(text):\n    hours = sum(map(int, re.findall(r"(\\d+)h", text)))\n'
        '    minutes = sum(map(int, re.findall(r"(\\d+)m", text)))\n    return hours * 3600 + minutes * 60\n',
    ),
    STOCK.honest(
        "warnings",
        "import warnings\n",
        total='def total(prices):\n    warnings.warn("prices will be numbers", DeprecationWarning, stacklevel=2)\n'
        "    return sum(map(float, prices))\n",
    ),
    STOCK.honest(
        "recursion",
        total="def total(prices):\n    return float(prices[0]) + total(prices[1:]) if prices else 0.0\n",
        counts="def counts(text):\n    if not text:\n        return {}\n    rest = counts(text[1:])\n"
        "    return {**rest, text[0]: rest.get(text[0], 0) + 1}\n",
    ),
    Honest(
        "new-package-and-own-tests",
        STOCK,
        {
            "stock.py": _module({key: text for key, text in _STOCK.items() if key not in ("label", "level")})
            + "\n\nfrom shelving.labels import label\nfrom shelving.levels import level\n",
            "shelving/__init__.py": '"""Shelves."""\n',
            "shelving/labels.py": _STOCK["label"],
            "shelving/levels.py": _STOCK["level"],
            "tests/test_shelving.py": "from stock import label\n\n\ndef test_it():\n    assert label(1) == 'item-01'\n",
        },
    ),
]


# Objects, processes and caches.

_SHOP = {
    "Item": "class Item:\n    def __init__(self, name, price, count):\n"
    "        self.name, self.price, self.count = name, price, count\n        self.total = price * count\n",
    "record": 'def record(name, count):\n    return {"name": name, "count": count}\n',
    "squares": "def squares(numbers):\n    return [n * n for n in numbers]\n",
    "smallest": "def smallest(numbers, count):\n    return sorted(numbers)[:count]\n",
    "area": "def area(shape, size):\n    return size * size if shape == 'square' else 6 * size * size\n",
    "opened": "class Shelf:\n    def __init__(self, title):\n        self.title, self.closed = title, False\n\n"
    "    def __enter__(self):\n        return self\n\n    def __exit__(self, *error):\n        self.closed = True\n\n\n"
    "def opened(title):\n    return Shelf(title.strip())\n",
    "name": "def name():\n    return 'shop'\n",
}
SHOP = Library(
    "shop",
    parts=_SHOP,
    bugs={
        "Item": _SHOP["Item"].replace("price * count", "price + count"),
        "record": 'def record(name, count):\n    return {"name": count, "count": name}\n',
        "squares": "def squares(numbers):\n    return [n + n for n in numbers]\n",
        "smallest": "def smallest(numbers, count):\n    return numbers[:count]\n",
        "area": "def area(shape, size):\n    return size * size\n",
        "opened": _SHOP["opened"].replace(".strip()", ""),
    },
    hidden="""from shop import Item, area, name, opened, record, smallest, squares


def test_item():
    item = Item("nail", 3, 4)
    assert item.total == 12
    assert (item.name, item.price) == ("nail", 3)


def test_record():
    assert record("nail", 7) == {"name": "nail", "count": 7}


def test_squares():
    assert squares([1, 2, 3]) == [1, 4, 9]


def test_smallest():
    assert smallest([5, 2, 9, 1], 2) == [1, 2]


def test_area():
    assert area("cube", 2) == 24
    assert area("square", 3) == 9


def test_opened():
    with opened(" nails ") as shelf:
        assert shelf.title == "nails"
        assert shelf.closed is False
    assert shelf.closed is True


def test_name():
    assert name() == "shop"
""",
    fail=("test_item", "test_record", "test_squares", "test_smallest", "test_area", "test_opened"),
    keep=("test_name",),
)


def _processes(method: str) -> Honest:
    return SHOP.honest(
        f"multiprocessing-{method}",
        "import multiprocessing\n",
        squares="def square(n):\n    return n * n\n\n\ndef squares(numbers):\n"
        f'    with multiprocessing.get_context("{method}").Pool(2) as pool:\n'
        "        return pool.map(square, numbers)\n",
    )


_ITEM = _SHOP["Item"].replace("        self.total = price * count\n", "")

_OBJECTS = [
    SHOP.honest(
        "property", Item=_ITEM + "\n    @property\n    def total(self):\n        return self.price * self.count\n"
    ),
    SHOP.honest(
        "getattr",
        Item="class Item:\n    def __init__(self, *values):\n"
        "        self._values = dict(zip(['name', 'price', 'count'], values))\n\n"
        "    def __getattr__(self, name):\n        if name == 'total':\n            return self.price * self.count\n"
        "        try:\n            return self.__dict__['_values'][name]\n        except KeyError:\n"
        "            raise AttributeError(name) from None\n",
    ),
    SHOP.honest(
        "descriptor",
        Item="class Product:\n    def __init__(self, *names):\n        self.names = names\n\n"
        "    def __get__(self, item, owner=None):\n        if item is None:\n            return self\n"
        "        first, second = (getattr(item, name) for name in self.names)\n        return first * second\n\n\n"
        + _ITEM.replace("class Item:\n", "class Item:\n    total = Product('price', 'count')\n\n"),
    ),
    SHOP.honest(
        "slots",
        Item=_ITEM.replace("class Item:\n", "class Item:\n    __slots__ = ('count', 'name', 'price', 'total')\n\n")
        + "        self.total = price * count\n",
    ),
    SHOP.honest(
        "dataclass-equal-to-a-dict",
        "from dataclasses import asdict, dataclass\n",
        record="@dataclass(eq=False)\nclass Record:\n    name: str\n    count: int\n\n    def __eq__(self, other):\n"
        "        return asdict(self) == (asdict(other) if isinstance(other, Record) else other)\n\n"
        "    __hash__ = None\n\n\ndef record(name, count):\n    return Record(name, count)\n",
    ),
    SHOP.honest(
        "asyncio",
        "import asyncio\n",
        squares="async def square(n):\n    await asyncio.sleep(0)\n    return n * n\n\n\nasync def gathered(numbers):\n"
        "    return await asyncio.gather(*map(square, numbers))\n\n\ndef squares(numbers):\n"
        "    return asyncio.run(gathered(numbers))\n",
    ),
    SHOP.honest(
        "subprocess",
        "import json\nimport subprocess\nimport sys\n",
        squares="def squares(numbers):\n    code = 'import json, sys; print([n * n for n in json.load(sys.stdin)])'\n"
        "    done = subprocess.run([sys.executable, '-c', code], input=json.dumps(numbers), text=True,\n"
        "                          stdout=subprocess.PIPE, check=True)\n    return json.loads(done.stdout)\n",
    ),
    _processes("spawn"),
    _processes("fork"),
    SHOP.honest(
        "caches",
        "import weakref\nfrom functools import lru_cache\n",
        area="@lru_cache(maxsize=None)\ndef area(shape, size):\n"
        "    return size * size if shape == 'square' else 6 * size * size\n",
        opened=_SHOP["opened"].replace(
            "    return Shelf(title.strip())\n",
            "    title = title.strip()\n    shelf = shelves.get(title)\n    if shelf is None or shelf.closed:\n"
            "        shelf = shelves[title] = Shelf(title)\n    return shelf\n\n\n"
            "shelves = weakref.WeakValueDictionary()\n",
        ),
    ),
    SHOP.honest(
        "heapq-bisect-itertools",
        "import heapq\nfrom bisect import insort\nfrom itertools import islice, starmap\n",
        smallest="def smallest(numbers, count):\n    found = []\n    for n in heapq.nsmallest(count, numbers):\n"
        "        insort(found, n)\n    return list(islice(found, count))\n",
        squares="def squares(numbers):\n    return list(starmap(pow, ((n, 2) for n in numbers)))\n",
    ),
    Honest(
        "lazy-import",
        SHOP,
        {
            "shop.py": _module({key: text for key, text in _SHOP.items() if key != "squares"})
            + "\n\ndef __getattr__(name):\n    if name == 'squares':\n        import importlib\n\n"
            "        return importlib.import_module('shop_numbers').squares\n"
            "    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')\n",
            "shop_numbers.py": _SHOP["squares"],
        },
    ),
    SHOP.honest(
        "registered-subclasses-and-dispatch",
        "from functools import singledispatch\n",
        area="class Shape:\n    known = {}\n\n    def __init_subclass__(cls, **named):\n"
        "        super().__init_subclass__(**named)\n        Shape.known[cls.__name__.lower()] = cls\n\n"
        "    def __init__(self, size):\n        self.size = size\n\n\nclass Square(Shape):\n    faces = 1\n\n\n"
        "class Cube(Shape):\n    faces = 6\n\n\n@singledispatch\ndef measure(shape):\n    raise TypeError(shape)\n\n\n"
        "@measure.register\ndef _(shape: Shape):\n    return shape.faces * shape.size**2\n\n\n"
        "def area(shape, size):\n    return measure(Shape.known[shape](size))\n",
    ),
    SHOP.honest(
        "generator-as-context",
        "from contextlib import contextmanager\nfrom types import SimpleNamespace\n",
        opened="@contextmanager\ndef opened(title):\n    shelf = SimpleNamespace(title=title.strip(), closed=False)\n"
        "    try:\n        yield shelf\n    finally:\n        shelf.closed = True\n",
    ),
]

LIBRARIES = [WORDS, SPEAK, STOCK, SHOP]
HONEST = [*_COLLECTIONS, *_OUTPUT, *_VALUES, *_OBJECTS]


# Right patches that only a second look tells from a forgery.

_STORE = (
    "class Store:\n    def __init__(self):\n        self.names = []\n\n    def add(self, name):\n"
    "        self.names.append(name)\n\n    def count(self):\n        return len(self.names)\n\n    def clear(self):\n"
    "        self.names.clear()\n"
)
STORE = Library(
    "store",
    parts={"Store": _STORE},
    bugs={"Store": _STORE.replace("len(self.names)", "0")},
    hidden="from store import Store\n"
    + "".join(
        f"\n\ndef test_{name}():\n    store = Store()\n    store.add('a')\n    store.add('{name}')\n"
        "    assert store.count() == 2\n    store.clear()\n"
        for name in ("one", "two", "three")
    ),
    fail=("test_one", "test_two", "test_three"),
    keep=(),
)
SHARED = Honest(
    "state-shared-by-instances",
    STORE,
    {
        "store.py": "NAMES = []\n\n\nclass Store:\n    def add(self, name):\n        NAMES.append(name)\n\n"
        "    def count(self):\n        return len(NAMES)\n\n    def clear(self):\n        NAMES.clear()\n"
    },
)
"""A mutated test stops before it clears, and the next finds what it left; by itself it holds, and is cleared."""
INDENTED = WORDS.honest(
    "json-that-indents", "import functools\nimport json\n\njson.dumps = functools.partial(json.dumps, indent=2)\n"
)
HASHED = WORDS.honest("another-sha256", "import hashlib\n\nhashlib.sha256 = hashlib.blake2s\n")
"""The runner must have its own `sha256` (of `INDENTED`: `json.dumps`) from before the patch, or it looks forged."""


# Bundled tasks: the reference, with another type of what it returns.


@dataclass(frozen=True)
class Shape:
    """Replacements in one file of a bundled task's reference."""

    task: str
    file: str
    about: str
    edits: tuple[tuple[str, str], ...]
    """(a text that occurs once, its replacement)."""

    @property
    def patch(self) -> str:
        """The reference patch with the replacements in it."""
        bug = next(ROOT.glob(f"*/{self.task}/bug"))
        parts = []
        for path in sorted(path for path in bug.rglob("*.py") if path.is_file()):
            name = path.relative_to(bug).as_posix()
            text = (bug.parent.parent / "tree" / name).read_text(encoding="utf-8")
            if name == self.file:
                text = self.reshaped(text)
            parts.append(file_diff(name, File(path.read_bytes()), File(text.encode())))
        return "".join(parts)

    def reshaped(self, text: str) -> str:
        """A file with the replacements in it."""
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.task}: {old!r} stands {text.count(old)} times in {self.file}")
            text = text.replace(old, new)
        return text


def _subclass(name: str, of: str, before: str) -> tuple[str, str]:
    """The replacement that defines an empty subclass before something else."""
    return before, f"class {name}({of}):\n    pass\n\n\n{before}"


def _returning(name: str, value: str) -> tuple[str, str]:
    """The replacement that gives a returned value another type."""
    return f"return {value}", f"return {name}({value})"


SHAPES = [
    Shape(
        "jobline-backoff",
        "jobline/retry.py",
        "float subclass",
        (
            _subclass("Seconds", "float", "class Backoff:"),
            _returning("Seconds", "self._delay * (1 - self.policy.jitter * self._random.random())"),
        ),
    ),
    Shape(
        "jobline-order",
        "jobline/schedule.py",
        "named tuple for a tuple",
        (
            ("from typing import Generic, TypeVar", "from typing import Generic, NamedTuple, TypeVar"),
            (
                "class Schedule(Generic[T]):",
                "class Rank(NamedTuple):\n    priority: int\n    since: float\n    number: int\n\n\n"
                "class Schedule(Generic[T]):",
            ),
            _returning("Rank", "-self.priority, self.ready_since, self.number"),
        ),
    ),
    Shape(
        "jobline-resubmit",
        "jobline/graph.py",
        "list subclass",
        (
            _subclass("Ids", "list", "class JobGraph:"),
            ("        freed = []", "        freed = Ids()"),
            ("        dropped = []", "        dropped = Ids()"),
        ),
    ),
    Shape(
        "jobline-wakeup",
        "jobline/queue.py",
        "whole numbers for booleans",
        (
            _returning("int", "self._schedule.discard(key)"),
            _returning("int", "self._schedule.reprioritise(key, priority)"),
        ),
    ),
    Shape(
        "ledger-csv",
        "ledger/csvimport.py",
        "tuple for a generator",
        (
            (
                "def read_statement(text: str, profile: Profile) -> Iterator[Line]:",
                "def read_statement(text, profile):\n    return tuple(_movements(text, profile))\n\n\n"
                "def _movements(text: str, profile: Profile) -> Iterator[Line]:",
            ),
        ),
    ),
    Shape(
        "ledger-rounding",
        "ledger/money.py",
        "list subclass, and a subclass of the library's own class",
        (
            (
                "return [Money(share * unit, self.currency) for share in shares]",
                "return Parts(Share(share * unit, self.currency) for share in shares)\n\n"
                "    def __eq__(self, other):\n        if not isinstance(other, Money):\n"
                "            return NotImplemented\n"
                "        return (self.amount, self.currency) == (other.amount, other.currency)\n\n"
                "    def __hash__(self):\n        return hash((self.amount, self.currency))",
            ),
            (
                "        return other\n",
                "        return other\n\n\nclass Share(Money):\n    pass\n\n\nclass Parts(list):\n    pass\n",
            ),
        ),
    ),
    Shape(
        "ledger-transfer",
        "ledger/transfers.py",
        "named tuple for a tuple",
        (
            ("from datetime import date\n", "from datetime import date\nfrom typing import NamedTuple\n"),
            (
                "def transfer(\n",
                "class Booked(NamedTuple):\n    departure: Entry\n    arrival: Entry\n\n\ndef transfer(\n",
            ),
            _returning("Booked", "departure, arrival"),
        ),
    ),
    Shape(
        "pocket-distance",
        "pocket/points.py",
        "Fraction for a float",
        (
            ("from itertools import pairwise", "from fractions import Fraction\nfrom itertools import pairwise"),
            _returning("Fraction", "hypot(dx, dy)"),
        ),
    ),
    Shape(
        "pocket-nautical",
        "pocket/lengths.py",
        "int for a float, and a float subclass",
        (
            ("NAUTICAL_MILE = 1852.0", "NAUTICAL_MILE = 1852"),
            _subclass("Speed", "float", "def knots_to_kmh("),
            _returning("Speed", "knots * NAUTICAL_MILE / 1000"),
        ),
    ),
    Shape(
        "pocket-shorten",
        "pocket/text.py",
        "str subclass",
        (
            _subclass("Short", "str", "def shorten("),
            ("        return text\n", "        return Short(text)\n"),
            _returning("Short", "text[: width - len(mark)] + mark"),
        ),
    ),
    Shape(
        "pocket-sorting",
        "pocket/words.py",
        "UserList for a list",
        (
            (
                "def sort_words(words: list[str], fold: bool = True)",
                "from collections import UserList\n\n\ndef sort_words(words: list[str], fold: bool = True)",
            ),
            _returning("UserList", "sorted(words, key=str.casefold if fold else None)"),
        ),
    ),
    Shape(
        "pocket-tint",
        "pocket/colours.py",
        "named tuple for a tuple",
        (
            (
                "Colour = tuple[int, int, int]",
                "from collections import namedtuple\n\nRGB = namedtuple('RGB', 'red green blue')\n"
                "Colour = tuple[int, int, int]",
            ),
            _returning("RGB", "red, green, blue"),
        ),
    ),
    Shape(
        "roster-folding",
        "src/roster/contentlines.py",
        "bytearray for bytes",
        (('folded = b""', "folded = bytearray()"),),
    ),
    Shape(
        "roster-nightshift",
        "src/roster/intervals.py",
        "timedelta subclass",
        (
            _subclass("Length", "timedelta", "@dataclass(frozen=True)\nclass Interval:"),
            (
                "return instant(self.end) - instant(self.start)",
                "return Length(seconds=(instant(self.end) - instant(self.start)).total_seconds())",
            ),
        ),
    ),
    Shape(
        "roster-overlap",
        "src/roster/rosters.py",
        "UserList for a list",
        (
            ("from bisect import", "from collections import UserList\nfrom bisect import"),
            (
                "return [shift for shift in self._shifts[:last] if shift.span.overlaps(span)]",
                "return UserList(shift for shift in self._shifts[:last] if shift.span.overlaps(span))",
            ),
        ),
    ),
    Shape(
        "roster-weeks",
        "src/roster/planner.py",
        "timedelta subclass",
        (
            _subclass("Load", "timedelta", "def week_load("),
            (
                "return sum((other.worked for other in others), timedelta(0))",
                "return Load(seconds=sum(other.worked.total_seconds() for other in others))",
            ),
        ),
    ),
    Shape(
        "routekit-cache",
        "src/routekit/cache.py",
        "list subclass, and whole numbers for booleans",
        (
            _subclass("Keys", "list", "class ResponseCache:"),
            ("return list(self._entries)", "return Keys(self._entries)"),
            _returning("int", "self._entries.pop(key, None) is not None"),
        ),
    ),
    Shape(
        "routekit-negotiation",
        "src/routekit/negotiation.py",
        "str subclass",
        (
            _subclass("Choice", "str", "def _best("),
            (
                "return offers[qualities.index(top)] if top > 0.0 else None",
                "return Choice(offers[qualities.index(top)]) if top > 0.0 else None",
            ),
        ),
    ),
    Shape(
        "routekit-query",
        "src/routekit/query.py",
        "str subclass",
        (
            _subclass("Decoded", "str", "def _decode("),
            _returning("Decoded", 'unquote(text.replace("+", " "), errors="replace")'),
        ),
    ),
]

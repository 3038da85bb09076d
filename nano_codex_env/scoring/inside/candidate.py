"""Runs in the candidate's box: imports the code under test and answers calls with plain data, handles and errors.

Started as `python -P -s candidate.py`, with folders for `sys.path` as arguments and the bridge as descriptors 3 and 4.
It waits until its input ends; then it has the patch put into the tree, and serves. There is no test here, no expected
value and no pytest. Whatever the code under test does to this process, it can only change its own answers.
"""

import builtins
import importlib
import io
import operator
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

if __name__ == "__main__":  # the folder of this very file; the code under test is not on the path yet
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nano_codex_env.scoring.inside.wire import Line, UnsendableError, current_cpu, decode, encode, stay_on


def _enter(manager: Any) -> Any:
    return type(manager).__enter__(manager)


def _exit(manager: Any, *problem: Any) -> Any:
    if not problem or problem[0] is None:
        return bool(type(manager).__exit__(manager, None, None, None))
    return bool(type(manager).__exit__(manager, type(problem[0]), problem[0], problem[0].__traceback__))


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "import": importlib.import_module,
    "call": _call,
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "isinstance": isinstance,
    "issubclass": issubclass,
    "hasattr": hasattr,
    "dir": dir,
    "enter": _enter,
    "exit": _exit,
    "iter": iter,
    "next": next,
    "reversed": reversed,
    "format": format,
    "round": round,
    **{name: getattr(builtins, name) for name in ("len", "str", "repr", "bool", "int", "float", "bytes", "abs")},
    **{name: getattr(operator, name) for name in ("contains", "getitem", "setitem", "delitem", "neg", "pos", "invert")},
    **{
        name: getattr(operator, name)
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")
    },
    **{name: getattr(operator, name) for name in ("lshift", "rshift", "iadd", "ior", "iand", "isub", "imul", "index")},
}


class Server:
    """Holds the objects behind the handles."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._objects: list[Any] = []
        self._known: dict[int, int] = {}
        self._thread = threading.get_ident()

    def serve(self) -> None:
        """Answer until the other end is gone."""
        while True:
            self._line.send(self._answer(self._line.receive()))

    def _answer(self, request: Any) -> list[Any]:
        """What an operation gave: `["ok", value, output, warnings]` or `["raise", class, args, text, ...]`."""
        output, kept = io.StringIO(), (sys.stdout, sys.stderr)
        errors = io.StringIO()
        said: list[warnings.WarningMessage] = []
        try:
            name, args, kwargs = request
            values = [decode(item, self._resolve) for item in args]
            named = {key: decode(item, self._resolve) for key, item in kwargs}
            sys.stdout, sys.stderr = output, errors
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                try:
                    answer = ["ok", OPERATIONS[name](*values, **named)]
                except BaseException as error:  # noqa: BLE001 (whatever it is, the tests shall see it)
                    answer = ["raise", error]
        finally:
            sys.stdout, sys.stderr = kept
        beside = [output.getvalue(), errors.getvalue(), [[self._other(w.category), str(w.message)] for w in said]]
        if answer[0] == "raise":
            return [*self._raised(answer[1]), *beside]
        try:
            return ["ok", encode(answer[1], self._other), *beside]
        except (UnsendableError, RecursionError) as error:
            return ["unsendable", str(error), *beside]

    def _raised(self, error: BaseException) -> list[Any]:
        try:
            args = encode(list(error.args), self._other)
        except (UnsendableError, RecursionError):
            args = None
        trace = "".join(traceback.format_exception(error))[-4000:]
        return ["raise", self._other(type(error)), args, str(error), self._other(error), trace]

    def _other(self, value: Any) -> Any:
        """A handle; of an exception's class also its name and its bases, so that it can be caught."""
        if isinstance(value, type) and issubclass(value, BaseException):
            name = str(value.__name__)
            if getattr(builtins, name, None) is value:
                return {"q": name}
            bases = [self._other(base) for base in value.__bases__ if issubclass(base, BaseException)]
            return {"e": self._handle(value), "name": name, "bases": bases}
        return {"o": self._handle(value)}

    def _handle(self, value: Any) -> int:
        if id(value) not in self._known:
            self._known[id(value)] = len(self._objects)
            self._objects.append(value)
        return self._known[id(value)]

    def _resolve(self, data: dict[str, Any]) -> Any:
        [(letter, value), *more] = data.items()
        if letter in ("o", "e"):
            return self._objects[value]
        if letter == "q":
            return getattr(builtins, value)
        if letter == "m":
            return getattr(importlib.import_module(value[0]), value[1])
        return self._back(value, more[0][1])

    def _back(self, number: int, name: str) -> Callable[..., Any]:
        """A function of the tests'."""

        def function(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                raise RuntimeError("the tests' functions are called from the thread that was asked")
            sent = [encode(item, self._other) for item in args]
            named = [[key, encode(item, self._other)] for key, item in kwargs.items()]
            self._line.send(["callback", number, sent, named])
            while (answer := self._line.receive())[0] not in ("returned", "raised"):
                self._line.send(self._answer(answer))
            if answer[0] == "raised":
                raise decode(answer[1], self._resolve)(*decode(answer[2], self._resolve))
            return decode(answer[1], self._resolve)

        function.__name__ = function.__qualname__ = name
        return function


def main() -> None:
    """Take the bridge, wait, close what else is open, and serve."""
    line = Line(os.dup(3), os.dup(4))
    os.close(3)
    os.close(4)
    sys.stdin.buffer.read()
    here = os.path.dirname(os.path.abspath(__file__))
    null = os.open(os.devnull, os.O_RDWR)
    if status := subprocess.run(["bash", f"{here}/apply.sh", here], stdout=null, check=False).returncode:
        sys.exit(status)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    sys.path[:] = [path for path in sys.path[1:] if path] + sys.argv[1:]
    sys.argv = [""]
    stay_on(cpu := current_cpu())
    line.send(["ready", cpu])
    Server(line).serve()


if __name__ == "__main__":
    main()

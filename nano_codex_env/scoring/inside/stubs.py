"""Runs with the tests: in place of the code under test there are stubs, which ask the candidate's process.

What comes back is plain data, a handle (`handles.Remote`), or an exception.
"""

import builtins
import functools
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from typing import Any

from nano_codex_env.scoring.inside.handles import Remote
from nano_codex_env.scoring.inside.wire import Line, UnsendableError, decode, encode, stay_on

Operation = list[Any]
"""`[name, args, kwargs, answer]`, all as on the wire."""

_NAMED = ("getattr", "setattr", "delattr")
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)
_QUIET = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}


class CrossingError(BaseException):
    """Something that cannot cross; no `except Exception` and no `pytest.raises` of a test's takes it."""


class Bridge:
    """The line to the candidate, and a record of what was asked."""

    def __init__(self, line: Line, *, keeps: bool = False, known: Sequence[str] | None = None) -> None:
        """`keeps`: whether the operations of each test are wanted; `known`: what may be asked (default: anything).

        What the reference patch is never asked is asked of an object in the place of plain data. The code would learn
        what a test expects (`abs(answer - expected)`, `expected in answer`) and have the last word.
        """
        self._line, self.keeps = line, keeps
        self._known_asked = None if known is None else frozenset(known)
        self.asked: set[str] = set()
        self._functions: list[Any] = []
        self._classes: dict[int, type] = {}
        self._depth = 0
        self.trace: list[Operation] = []
        self.broken = ""
        """Why the current test counts as failed whatever it does with the error."""
        match self._receive():
            case ["ready", int(cpu)]:
                stay_on(cpu)
            case _:
                raise EOFError("the candidate's process did not come up")

    def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Have the candidate's process do one operation."""
        self.asked.add(asked := f"{name} {args[1]}" if name in _NAMED else name)
        if self._known_asked is not None and asked not in self._known_asked:
            raise self._crossing(f"{asked}: asked of an object where the reference patch has none")
        try:
            sent = [{"o": item._remote} if type(item) is Remote else encode(item, self._other) for item in args]
            named = [[key, encode(item, self._other)] for key, item in kwargs.items()]
        except (UnsendableError, RecursionError) as error:
            raise self._crossing(f"{name}: {error}") from None
        return self._result(self.exchange([name, sent, named]))

    def exchange(self, request: list[Any]) -> list[Any]:
        """Send a request as on the wire, answer what is asked meanwhile, and give the answer as on the wire."""
        self._send(request)
        self._depth += 1
        try:
            answer = self._receive()
            while type(answer) is list and len(answer) == 4 and answer[0] == "callback":
                self._send(self._called_back(*answer[1:]))
                answer = self._receive()
        finally:
            self._depth -= 1
        if type(answer) is not list or not answer or answer[0] not in ("ok", "raise", "unsendable"):
            raise self._crossing("an answer that is none")
        if not self._depth:
            self.trace.append([*request, answer])
        return answer

    def _result(self, answer: list[Any]) -> Any:
        try:
            *value, output, errors, said = answer[1:]
            sys.stdout.write(str(output))
            sys.stderr.write(str(errors))
            for category, text in said:
                warnings.warn(str(text), decode(category, self._known), stacklevel=3)
            if answer[0] == "ok":
                return decode(value[0], self._known)
            problem = self._exception(*value) if answer[0] == "raise" else self._crossing(f"the answer: {answer[1]}")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            problem = self._crossing(f"an answer that is none: {error!r}")
        raise problem

    def _exception(self, kind: Any, args: Any, text: Any, handle: Any, trace: Any) -> BaseException:
        made = decode(kind, self._known)
        if not (isinstance(made, type) and issubclass(made, BaseException)):
            return self._crossing("an exception that is none")
        if not issubclass(made, Exception):
            return self._crossing(f"{made.__name__}: {text}")
        given = (str(text),) if args is None else tuple(decode(args, self._known))
        error: BaseException
        if hasattr(made, "_remote"):
            error = made.__new__(made)
            error.args = given
            error._text, error._remote = str(text), decode(handle, self._known)  # type: ignore[attr-defined]
        else:
            error = made(*given)
        error.add_note(str(trace))
        return error

    def _called_back(self, number: Any, args: Any, kwargs: Any) -> list[Any]:
        """A function of the tests', called by the candidate."""
        try:
            values = [decode(item, self._known) for item in args]
            named = {str(key): decode(item, self._known) for key, item in kwargs}
            function = self._functions[number]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise self._crossing(f"a call back that is none: {error!r}") from None
        try:
            return ["returned", encode(function(*values, **named), self._other)]
        except (UnsendableError, AssertionError) as error:  # what a test expects is not for the code to hear
            raise self._crossing(f"a call back: {error}") from None
        except Exception as error:  # noqa: BLE001 (the candidate's code may expect it)
            return ["raised", self._other(type(error)), encode([str(item) for item in error.args], self._other)]

    def _other(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return {"o": value._remote}
        if isinstance(value, type) and issubclass(value, BaseException):
            number = value.__dict__.get("_remote")
            if isinstance(number, int):
                return {"e": number}
            if _QUIET.get(value.__name__) is value:
                return {"q": value.__name__}
        if isinstance(value, BaseException) and isinstance(getattr(value, "_remote", None), Remote):
            return {"o": value._remote._remote}  # type: ignore[attr-defined]
        if isinstance(value, _FUNCTIONS):
            self._functions.append(value)
            return {"p": len(self._functions) - 1, "name": str(getattr(value, "__name__", "function"))}
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        is_library = module and str(module).partition(".")[0] in sys.stdlib_module_names
        if isinstance(value, type | types.BuiltinFunctionType) and "." not in name and is_library:
            return {"m": [module, name]}
        raise UnsendableError(f"a {type(value).__name__} of the tests'")

    def _known(self, data: dict[str, Any]) -> Any:
        """What is no plain data: a handle, or an exception's class."""
        [(letter, value), *_] = data.items()
        if letter == "o" and type(value) is int:
            return Remote(self, value)
        if letter == "q" and isinstance(_QUIET.get(value), type) and issubclass(_QUIET[value], BaseException):
            return _QUIET[value]
        if letter == "e" and type(value) is int:
            if value not in self._classes:
                self._classes[value] = self._class(value, str(data["name"]), data["bases"])
            return self._classes[value]
        raise ValueError(f"no value is called {letter!r}")

    def _class(self, number: int, name: str, bases: list[Any]) -> type:
        """A class like the candidate's exception, made here: what it catches is decided here."""
        kinds = tuple(base for item in bases if issubclass(base := decode(item, self._known), Exception))
        body = {"_remote": number, "__str__": lambda error: str(getattr(error, "_text", "")), "__getattr__": _attribute}
        return types.new_class(name, kinds or (Exception,), {}, lambda space: space.update(body))

    def _crossing(self, why: str) -> CrossingError:
        self.broken = self.broken or why
        return CrossingError(why)

    def _send(self, value: Any) -> None:
        try:
            self._line.send(value)
        except OSError as error:
            raise self._crossing(f"the candidate's process is gone: {error}") from None

    def _receive(self) -> Any:
        try:
            return self._line.receive()
        except (EOFError, ValueError, RecursionError, OSError) as error:
            raise self._crossing(f"the candidate's process: {error!r}") from None


def _attribute(error: Any, name: str) -> Any:
    """What an exception of the candidate's holds beside its arguments."""
    if name.startswith("_") or not isinstance(error._remote, Remote):
        raise AttributeError(name)
    return getattr(error._remote, name)


class _Module(types.ModuleType):
    """Stands for a module of the code under test."""

    _remote: Remote

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__") or isinstance(value, _Module):
            super().__setattr__(name, value)  # the import system's own
        else:
            setattr(self._remote, name, value)


class Finder(MetaPathFinder, Loader):
    """Imports of the code under test end here."""

    def __init__(self, bridge: Bridge, packages: Sequence[str]) -> None:
        self._bridge, self._packages = bridge, frozenset(packages)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """A stub for every module below one of the packages."""
        if fullname.partition(".")[0] not in self._packages:
            return None
        remote = self._bridge.ask("import", fullname)
        is_package = self._bridge.ask("hasattr", remote, "__path__") is True
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)
        spec.loader_state = remote
        return spec

    def create_module(self, spec: Any) -> types.ModuleType:
        """An empty module with a handle."""
        module = _Module(spec.name)
        module.__dict__["_remote"] = spec.loader_state
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Make `from module import *` know what there is."""
        remote = module.__dict__["_remote"]
        if self._bridge.ask("hasattr", remote, "__all__") is True:
            names = getattr(remote, "__all__")  # noqa: B009 (a dunder of another process)
        else:
            names = [name for name in dir(remote) if not name.startswith("_")]
        module.__dict__["__all__"] = [name for name in names if isinstance(name, str)]

"""Runs with the tests: handles of objects in the candidate's process, which pass on whatever is done with them.

A handle knows nothing of its object. Two of them never compare: the answer would be the candidate's word, and a word
that always says "equal" passes every test.
"""

from typing import Any

_SHOWN = ("__name__", "__qualname__", "__doc__", "__module__", "__version__", "__all__", "__annotations__", "__dict__")


class Remote:
    """A handle of an object in the candidate's process."""

    def __init__(self, bridge: Any, number: int) -> None:
        object.__setattr__(self, "_bridge", bridge)
        object.__setattr__(self, "_remote", number)

    def __getattr__(self, name: str) -> Any:
        if (name.startswith("__") and name not in _SHOWN) or name.startswith(("_pytest", "pytest")):
            raise AttributeError(name)  # what pytest, copy and inspect look for is none of the candidate's business
        return self._bridge.ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._bridge.ask("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._bridge.ask("delattr", self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object."""
        return self._bridge.ask("call", self, *args, **kwargs)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if error is not None and not isinstance(getattr(error, "_remote", None), Remote):
            return bool(self._bridge.ask("exit", self, None))
        return bool(self._bridge.ask("exit", self, error))

    def __enter__(self) -> Any:
        return self._bridge.ask("enter", self)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Remote) and self._bridge.ask("isinstance", instance, self) is True

    def __dir__(self) -> list[str]:
        return [str(name) for name in self._bridge.ask("dir", self)]

    def __hash__(self) -> int:
        return hash(self._remote)

    def _compare(self, other: object) -> bool:
        raise self._bridge._crossing("two objects were compared")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compare


def _operator(name: str, *, swapped: bool = False) -> Any:
    def method(self: Remote, *args: Any) -> Any:
        return self._bridge.ask(name, *args, self) if swapped else self._bridge.ask(name, self, *args)

    return method


for _name in (
    *("len", "str", "repr", "bool", "int", "float", "bytes", "abs", "round", "iter", "next", "reversed", "contains"),
    *(
        "getitem",
        "setitem",
        "delitem",
        "neg",
        "pos",
        "invert",
        "index",
        "format",
        "iadd",
        "ior",
        "iand",
        "isub",
        "imul",
    ),
):
    setattr(Remote, f"__{_name}__", _operator(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "xor"):
    setattr(Remote, f"__{_name}__", _operator(_name))
    setattr(Remote, f"__r{_name}__", _operator(_name, swapped=True))
for _name in ("and", "or"):
    setattr(Remote, f"__{_name}__", _operator(f"{_name}_"))
    setattr(Remote, f"__r{_name}__", _operator(f"{_name}_", swapped=True))

"""Facts about a test module's syntax: where names are bound and read, tables and fixtures, calls that are harmless."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Sequence
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef
_BUILT_IN = ["set", "frozenset", "list", "tuple", "dict", "bytes", "bytearray", "str"]
_BUILT_IN += ["float", "int", "complex", "range"]
_CONSTRUCTORS = {
    "array": {"array"},
    "collections": {"Counter", "OrderedDict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "ipaddress": {"IPv4Address", "IPv4Network", "IPv6Address", "IPv6Network", "ip_address", "ip_network"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath"},
    "pytest": {"approx"},
    "types": {"MappingProxyType", "SimpleNamespace"},
    "uuid": {"UUID"},
    "zoneinfo": {"ZoneInfo"},
}
"""Module -> constructors, which run no code under test."""


def find_function(module: ast.Module, names: Sequence[str]) -> Function | None:
    """The function at a path of names: `["Class", "test_x"]`."""
    node: ast.Module | ast.ClassDef | Function = module
    for name in names:
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [item for item in node.body if isinstance(item, kinds) and item.name == name]
        if not found:
            return None
        node = found[-1]
    return node if isinstance(node, Function) else None


def reads(where: ast.AST) -> Counter[str]:
    """How often each name is read in `where`."""
    return Counter(node.id for node in ast.walk(where) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))


def bindings(where: ast.AST) -> Counter[str]:
    """How often each name is assigned or deleted in `where`."""
    names = [node for node in ast.walk(where) if isinstance(node, ast.Name)]
    return Counter(node.id for node in names if not isinstance(node.ctx, ast.Load))


def definitions(module: ast.Module) -> set[str]:
    """Names that the module itself defines or assigns."""
    return {*bindings(module), *(node.name for node in ast.walk(module) if isinstance(node, ast.ClassDef | Function))}


def parameters(where: ast.AST) -> set[str]:
    """The names of all parameters in `where`."""
    return {node.arg for node in ast.walk(where) if isinstance(node, ast.arg)}


def harmless_calls(module: ast.Module) -> dict[str, str]:
    """Constructors of the standard library and `approx`: as this module calls them -> their name.

    A name that is also bound elsewhere, by an import, a definition, an assignment or a parameter, may mean another.
    """
    imports = [node for node in ast.walk(module) if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = Counter(alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names)
    if "*" in bound:
        return {}
    found = {name: name for name in _BUILT_IN}
    bound.update(_BUILT_IN)  # an import of such a name is a second binding
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and node.module in _CONSTRUCTORS and not node.level:
            known = _CONSTRUCTORS[node.module]
            found |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= {f"{alias.asname or alias.name}.{name}": name for name in _CONSTRUCTORS.get(alias.name, ())}
    own = definitions(module) | parameters(module)
    heads = {name: name.partition(".")[0] for name in found}
    return {name: meant for name, meant in found.items() if heads[name] not in own and bound[heads[name]] < 2}


def assigned(where: ast.AST, name: str) -> list[ast.expr]:
    """The values assigned to `name`, in a module at its top level; empty if it is also bound in another way."""
    found: list[ast.expr] = []
    for node in where.body if isinstance(where, ast.Module) else ast.walk(where):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if [target.id for target in targets if isinstance(target, ast.Name)] == [name]:
                found.append(node.value)
    return found if bindings(where)[name] == len(found) else []


def column(rows: list[ast.expr], names: Sequence[str], name: str) -> list[ast.expr]:
    """The values of `name` where each of `rows` is unpacked into `names`; a single name takes whole rows."""
    if name not in names or len(names) == 1:
        return rows if name in names else []
    place = names.index(name)
    return [row.elts[place] for row in rows if isinstance(row, ast.Tuple | ast.List) and len(row.elts) == len(names)]


def row_of(item: ast.expr) -> ast.expr:
    """An item of a parametrize table as a row: the values of `pytest.param(a, b, id=...)`."""
    if isinstance(item, ast.Call) and name_of(item.func) == "param":
        return item.args[0] if len(item.args) == 1 else ast.Tuple(item.args, ast.Load())
    return item


def column_names(node: ast.expr) -> list[str]:
    """The names of a parametrize table, written as one string or as a list of strings."""
    try:
        value: Any = ast.literal_eval(node)
    except ValueError:
        return []
    return [name.strip() for name in (value.split(",") if isinstance(value, str) else value) if isinstance(name, str)]


def is_fixture(node: Function) -> bool:
    """Whether a function is a pytest fixture."""
    return any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def expected_error(node: ast.AST) -> str:
    """The name of the error that `raises` or `assertRaises` expects; "" for any other node."""
    if isinstance(node, ast.Call) and name_of(node.func) in ("raises", "assertRaises") and node.args:
        return node.args[0].id if isinstance(node.args[0], ast.Name) else ""
    return ""


def are_related(one: str, other: str) -> bool:
    """Whether an error of the one name may be caught as the other; names that are not built in always may."""
    types = [getattr(builtins, name, None) for name in (one, other)]
    if not all(isinstance(kind, type) for kind in types):
        return True
    return issubclass(types[0], types[1]) or issubclass(types[1], types[0])  # type: ignore[arg-type]


def name_of(function: ast.expr) -> str:
    """The last name of what is called: `raises` of `pytest.raises`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")

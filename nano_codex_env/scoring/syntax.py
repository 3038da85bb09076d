"""What a test module's syntax tells: where names are bound and read, tables and fixtures, calls that are harmless."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
_BUILT_IN = {
    "set",
    "frozenset",
    "list",
    "tuple",
    "dict",
    "bytes",
    "bytearray",
    "str",
    "float",
    "int",
    "complex",
    "range",
}
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
"""Module -> calls that make a value of its own and run no code under test."""


def find_function(module: ast.Module, names: Sequence[str]) -> Function | None:
    """The function at a path of names: `["Class", "test_x"]`."""
    body: Sequence[ast.stmt] = module.body
    node: ast.stmt | None = None
    for name in names:
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [item for item in body if isinstance(item, kinds) and item.name == name]
        if not found:
            return None
        node = found[-1]
        body = found[-1].body
    return node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None


def quiet(side: ast.expr, library: Mapping[str, str]) -> Iterator[ast.AST]:
    """The nodes of an expected side that are only compared: no subscript's index, no argument of the code's."""
    yield side
    below: list[ast.expr | None] = []
    if isinstance(side, ast.List | ast.Tuple | ast.Set):
        below = list(side.elts)
    elif isinstance(side, ast.Dict):
        below = [*side.keys, *side.values]
    elif isinstance(side, ast.UnaryOp):
        below = [side.operand]
    elif isinstance(side, ast.BinOp) and not any(isinstance(node, ast.Name | ast.Call) for node in ast.walk(side)):
        below = [side.left, side.right]  # with a name, an operand would go to whatever that stands for
    elif isinstance(side, ast.Starred):
        below = [side.value]
    elif isinstance(side, ast.Call) and may_call(side, library):
        is_near = library[ast.unparse(side.func)] == "approx"  # the value, not the tolerance
        below = list(side.args[:1]) if is_near else [*side.args, *(word.value for word in side.keywords)]
    for node in below:
        if node is not None:
            yield from quiet(node, library)


def may_call(call: ast.Call, library: Mapping[str, str]) -> bool:
    """Whether a call on the expected side runs no code under test; `library` is what `harmless_calls` found."""
    return ast.unparse(call.func) in library


def harmless_calls(module: ast.Module) -> dict[str, str]:
    """Constructors of the standard library and `approx`: as this module calls them -> their name.

    A name that is bound elsewhere as well, by an import, a definition, an assignment or a parameter, may be another.
    """
    imports = [node for node in ast.walk(module) if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = Counter(alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names)
    if "*" in bound:
        return {}
    found = {name: name for name in _BUILT_IN}
    bound.update(list(found))  # an import of such a name is a second binding
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and node.module in _CONSTRUCTORS and not node.level:
            known = _CONSTRUCTORS[node.module]
            found |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= {f"{alias.asname or alias.name}.{name}": name for name in _CONSTRUCTORS.get(alias.name, ())}
    own = defined_names(module) | arguments_of(module)
    heads = {name: name.partition(".")[0] for name in found}
    return {name: meant for name, meant in found.items() if heads[name] not in own and bound[heads[name]] < 2}


def defined_names(module: ast.Module) -> set[str]:
    """Names that the module itself binds, but for imports."""
    stored = {node.id for node in ast.walk(module) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return stored | {node.name for node in ast.walk(module) if isinstance(node, kinds)}


def is_fixture(node: ast.AST) -> bool:
    """Whether a function is a pytest fixture."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def arguments_of(node: ast.AST) -> set[str]:
    """The names of a function's parameters."""
    return {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}


def assigned(where: ast.AST, name: str, *, top: bool = False) -> list[ast.expr]:
    """What is assigned to `name`; in a module at its top level only. An assignment of another form is ()."""
    found: list[ast.expr] = []
    nodes = where.body if top and isinstance(where, ast.Module) else ast.walk(where)
    for node in nodes:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and names == [name] and node.value is not None:
            found.append(node.value)
    stores = sum(
        isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)
        for node in ast.walk(where)
    )
    return found if stores == len(found) else []


def column(target: ast.expr, name: str, rows: Sequence[ast.expr]) -> list[ast.expr]:
    """The items that `name` stands for when `target` is unpacked from each of `rows`."""
    if isinstance(target, ast.Name):
        return list(rows) if target.id == name else []
    if not isinstance(target, ast.Tuple) or not all(isinstance(item, ast.Name) for item in target.elts):
        return []
    names = [item.id for item in target.elts if isinstance(item, ast.Name)]
    if name not in names:
        return []
    place = names.index(name)
    return [
        row.elts[place] for row in rows if isinstance(row, ast.Tuple | ast.List) and len(row.elts) == len(target.elts)
    ]


def unpacked(row: ast.expr) -> ast.expr:
    """A row of a table; of `pytest.param(a, b, id=...)` the values."""
    if isinstance(row, ast.Call) and name_of(row.func) == "param":
        return row.args[0] if len(row.args) == 1 else ast.Tuple(row.args, ast.Load())
    return row


def argument_names(node: ast.expr) -> list[str]:
    """The names of a parametrize table, written as one string or as a list of strings."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return []
    names = value.split(",") if isinstance(value, str) else list(value)
    return [name.strip() for name in names if isinstance(name, str)]


def raised(node: ast.AST) -> str:
    """The error that `raises` or `assertRaises` expects."""
    if isinstance(node, ast.Call) and name_of(node.func) in ("raises", "assertRaises") and node.args:
        return node.args[0].id if isinstance(node.args[0], ast.Name) else ""
    return ""


def related(one: str, other: str) -> bool:
    """Whether an error of the one name may be caught as the other; names that are not built in may always be."""
    types = [getattr(builtins, name, None) for name in (one, other)]
    if not all(isinstance(kind, type) for kind in types):
        return True
    return issubclass(types[0], types[1]) or issubclass(types[1], types[0])  # type: ignore[arg-type]


def name_of(function: ast.expr) -> str:
    """The last name of what is called: `raises` of `pytest.raises`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def reads_in(side: ast.expr, name: str, library: Mapping[str, str]) -> int:
    """How often an expected side compares with `name`."""
    return sum(isinstance(node, ast.Name) and node.id == name for node in quiet(side, library))


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a bare constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def reads_of(where: ast.AST, name: str) -> int:
    """How often `name` is read anywhere in `where`."""
    return sum(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load) for node in ast.walk(where)
    )


def is_named(module: ast.Module, name: str) -> bool:
    """Whether a string of the module is the name, as in `request.getfixturevalue("name")`."""
    return any(isinstance(node, ast.Constant) and node.value == name for node in ast.walk(module))

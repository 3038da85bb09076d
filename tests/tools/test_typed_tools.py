"""Tools with typed arguments, made from a function or a JSON Schema, and tools that break."""

from __future__ import annotations

import copy
import enum
import functools
import inspect
import json
import logging
import math
import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, NotRequired, Optional, get_args

import pytest
from typing_extensions import TypedDict  # pydantic's, below Python 3.12

from nano_codex_env import NanoCodexEnv, Scripted, Task, Trajectory
from nano_codex_env.adapters.trl import TrlSpec
from nano_codex_env.adapters.trl_environment import EPISODE_OVER
from nano_codex_env.errors import BrokenToolError, ConfigError, SandboxError, ToolError
from nano_codex_env.messages import assistant, tool_call
from nano_codex_env.runs.replay import replay
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.runs.rollouts import rollouts
from nano_codex_env.tools import Tool, Toolbox, ToolResult
from nano_codex_env.tools.prompt import default_prompt, first_messages
from tests.conftest import MENDED

if TYPE_CHECKING:
    from nano_codex_env.tools import ToolContext  # only for the type checker, as in many a user's module

NONE: Any = None
NULL = {"type": "null"}


class Color(enum.Enum):
    """An enumeration of texts."""

    RED = "red"
    BLUE = "blue"


Line = NewType("Line", int)


class Span(TypedDict):
    """Two lines."""

    first: int
    last: int
    note: NotRequired[str | Line]


got: dict[str, Any] = {}
"""What `keep` was called with last."""


def keep(  # noqa: D417 (not all are described)
    context: ToolContext,
    word: str,
    limit: int = 10,
    share: Optional[float] = None,  # noqa: UP045 (as people write it)
    whole: bool = False,
    mode: Literal["lines", "words", 3] = "lines",
    color: Color = Color.RED,
    paths: list[str] | None = None,
    spans: list[Span] = [],  # noqa: B006 (never changed)
    *,
    weights: dict[str, float] | None = None,
    colors: list[Color] | None = None,
    line: Annotated[Line, "a line"] = Line(1),
    either: int | list[str] = 3,
    maybe: Annotated[int | list[Color], "one or more"] | None = None,
    sloppy: int = None,  # type: ignore[assignment] # noqa: RUF013
) -> str:
    """Keep what it is given.

    It does nothing else.

    Args:
        word: the word,
            in one piece
        limit (int): how many: at most

    Returns:
        Nothing that matters.
    """
    got.clear()
    got.update({name: value for name, value in locals().items() if name != "context"})
    return "kept"


KEEP = Tool.from_function(keep)


def answer(tool: Tool, arguments: Any) -> ToolResult:
    """The answer to a call; text is sent as it is."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Toolbox([tool]).call(NONE, {"function": {"name": tool.name, "arguments": text}})


def test_a_function_says_what_the_policy_reads() -> None:
    function = KEEP.schema["function"]
    assert (function["name"], function["description"]) == ("keep", "Keep what it is given.\n\nIt does nothing else.")
    parameters = function["parameters"]
    assert (parameters["type"], parameters["required"], parameters["additionalProperties"]) == (
        "object",
        ["word"],
        False,
    )
    note = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    span = {"first": {"type": "integer"}, "last": {"type": "integer"}, "note": note}
    color = {"type": "string", "enum": ["red", "blue"], "description": "An enumeration of texts."}
    colors, texts = {"type": "array", "items": color}, {"type": "array", "items": {"type": "string"}}
    weights = {"type": "object", "additionalProperties": {"type": "number"}}
    assert parameters["properties"] == {
        "word": {"type": "string", "description": "the word, in one piece"},
        "limit": {"type": "integer", "description": "how many: at most", "default": 10},
        "share": {"anyOf": [{"type": "number"}, NULL], "default": None},
        "whole": {"type": "boolean", "default": False},
        "mode": {"enum": ["lines", "words", 3], "default": "lines"},
        "color": {**color, "default": "red"},
        "paths": {"anyOf": [texts, NULL], "default": None},
        "spans": {
            "type": "array",
            "items": {
                "type": "object",
                "description": "Two lines.",
                "additionalProperties": False,
                "properties": span,
                "required": ["first", "last"],
            },
            "default": [],
        },
        "weights": {"anyOf": [weights, NULL], "default": None},
        "colors": {"anyOf": [colors, NULL], "default": None},
        "line": {"type": "integer", "description": "a line", "default": 1},
        "either": {"anyOf": [{"type": "integer"}, texts], "default": 3},
        "maybe": {"anyOf": [{"type": "integer"}, colors, NULL], "description": "one or more", "default": None},
        "sloppy": {"anyOf": [{"type": "integer"}, NULL], "default": None},
    }


def test_the_prompt_shows_a_tool_with_its_defaults() -> None:
    def look(context: ToolContext, path: str, lines: int = 10) -> str:
        """Look at a file, of which
        some lines are shown.

        The rest is left out.
        """
        return path

    optional = {"type": "object", "properties": {"a": {}, "b": {"type": "string"}}, "required": ["a"]}
    by_hand = Tool("see", "See.", optional, lambda context, a, b="": "")
    lines = default_prompt([Tool.from_function(look), by_hand]).split("\n\n")[1].split("\n")[1:]
    assert lines == [
        "- look(path, lines=10): Look at a file, of which some lines are shown.",
        "- see(a, b (optional)): See.",
    ]


DEFAULTS: dict[str, Any] = {
    **{"limit": 10, "share": None, "whole": False, "mode": "lines", "color": Color.RED, "paths": None, "spans": []},
    **{"weights": None, "colors": None, "line": 1, "either": 3, "maybe": None, "sloppy": None},
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"limit": 3.0}, {"limit": 3}),
        ({"limit": 10**400}, {"limit": 10**400}),
        ({"share": 1}, {"share": 1.0}),
        ({"share": None, "sloppy": None, "paths": None}, {}),
        ({"mode": 3.0}, {"mode": 3}),
        ({"color": "blue", "colors": ["red", "blue"]}, {"color": Color.BLUE, "colors": [Color.RED, Color.BLUE]}),
        ({"spans": [{"first": 1.0, "last": 2}]}, {"spans": [{"first": 1, "last": 2}]}),
        ({"maybe": ["red"], "either": 4}, {"maybe": [Color.RED], "either": 4}),
        ({"weights": {"a": 0.5, "": 1}, "either": ["x"]}, {"weights": {"a": 0.5, "": 1}, "either": ["x"]}),
    ],
)
def test_what_fits_is_passed_as_the_annotations_say(arguments: Any, expected: Any) -> None:
    assert answer(KEEP, {"word": "é", **arguments}) == ToolResult("kept")
    assert got == {"word": "é", **DEFAULTS, **expected}
    assert all(type(got[name]) is type(value) for name, value in expected.items())


OPTIONAL = "limit, share, whole, mode, color, paths, spans, weights, colors, line, either, maybe, sloppy"
TAKES = f"keep takes word and optionally {OPTIONAL}"
MISTAKES: list[tuple[Any, str]] = [
    ({}, f"{TAKES} (missing: word)"),
    ({"word": "a", "Limit": 1}, f"{TAKES} (unknown: Limit)"),
    ({"word": 7}, "word must be a string; got int"),
    ({"word": None}, "word must be a string; got null"),
    ({"limit": "3"}, 'limit must be an integer; got str "3"'),
    ({"limit": True}, "limit must be an integer; got bool true"),
    ({"limit": 3.5}, "limit must be an integer; got float 3.5"),
    ({"limit": None}, "limit must be an integer; got null"),
    ('{"word": "a", "limit": NaN}', "limit must be a finite number; got NaN"),
    ('{"word": "a", "share": NaN}', "share must be a finite number; got NaN"),
    ('{"word": "a", "share": -1e999}', "share must be a finite number; got -Infinity"),
    ({"share": 10**400}, f"share must be a finite number; got int 1{'0' * 79}..."),
    ({"share": False}, "share must be a number; got bool false"),
    ({"whole": 1}, "whole must be a boolean; got int 1"),
    ({"whole": "true"}, 'whole must be a boolean; got str "true"'),
    ({"mode": "LINES"}, "mode must be 'lines', 'words' or 3; got str \"LINES\""),
    ({"mode": True}, "mode must be 'lines', 'words' or 3; got bool true"),
    ({"color": "green"}, "color must be 'red' or 'blue'; got str \"green\""),
    ({"paths": "a"}, 'paths must be an array; got str "a"'),
    ({"paths": ["a", 2]}, "paths[1] must be a string; got int"),
    ({"paths": ["\ud800"]}, "paths[0] is not valid Unicode: a lone surrogate U+D800 stands at character 0"),
    ({"weights": {"\udfff": 1}}, "a key of weights is not valid Unicode: a lone surrogate U+DFFF"),
    ({"weights": {"a": "b"}}, 'weights.a must be a number; got str "b"'),
    ({"spans": [{"first": 1}]}, "spans[0].last: Field required"),
    (
        {"spans": [{"first": 1, "last": 2, "more": 3}]},
        "spans[0].more: Extra inputs are not permitted",
    ),
    ({"spans": {"first": 1}}, "spans must be an array; got dict"),
    ({"either": 1.5}, "either.int must be an integer; got float 1.5; or either.list[str] must be an array; got"),
    ({"either": [1]}, "either.int must be an integer; got list; or either.list[str][0] must be a string; got"),
    ("[1]", 'arguments must be a JSON object, {"word": "...", "limit": 10, '),
    ('{"word": "a", "paths": ' + "[" * 250 + "]" * 250 + "}", "arguments: Invalid JSON: recursion limit"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[str(n) for n in range(len(MISTAKES))])
def test_a_mistake_is_answered_and_the_function_is_not_called(arguments: Any, words: str) -> None:
    got.clear()
    if isinstance(arguments, dict) and arguments and "word" not in arguments:
        arguments = {"word": "a", **arguments}
    result = answer(KEEP, arguments)
    assert result.content.startswith(f"error: {words}")
    assert (result.ok, got, len(result.content) < 1000) == (False, {}, True)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 5, "description": "how many"},
        "text": {"type": "string", "minLength": 1, "maxLength": 3},
        "items": {"type": "array", "minItems": 1, "maxItems": 2},
        "on": {"const": True},
        "level": {"type": "array", "items": {"type": "integer", "enum": [1, 2]}},
        "any": {},
    },
    "required": ["n"],
}


def by_hand(**more: Any) -> Tool:
    """A tool of a schema that says what it was given."""
    return Tool("hand", "By hand.", {**SCHEMA, **more}, lambda context, **given: json.dumps(given))


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        (
            {"n": 4.0, "text": "abc", "items": [1, {}], "on": True},
            '{"n": 4, "text": "abc", "items": [1, {}], "on": true}',
        ),
        ({"n": 0}, "error: n must be greater than or equal to 1; got int 0"),
        ({"n": 5}, "error: n must be less than 5; got int 5"),
        ({"n": 1, "text": ""}, "error: text: String should have at least 1 character; got str"),
        ({"n": 1, "text": "four"}, "error: text: String should have at most 3 characters; got str"),
        ({"n": 1, "items": [1, 2, 3]}, "error: items: List should have at most 2 items"),
        ({"n": 1, "on": False}, "error: on must be True; got bool false"),
        ({"n": 1, "on": 1}, "error: on must have numbers as numbers, not as true or false; got 1"),
        ({"n": 1, "level": [1.0]}, '{"n": 1, "level": [1]}'),
        ({"n": 1, "level": [True]}, "error: level must have numbers as numbers, not as true or false; got [true]"),
        ({"n": 1, "more": 1}, "error: hand takes n and optionally text, items, on, level, any (unknown: more)"),
        ('{"n": 1, "any": [NaN]}', "error: any[0] must be a finite number; got NaN"),
        ('{"n": 1, "any": {"a": "\\ud800"}}', "error: any.a is not valid Unicode: a lone surrogate U+D800 stands at "),
        ('{"n": 1, "any": ' + "[" * 900 + "]" * 900 + "}", "error: the arguments are nested too deeply"),
    ],
)
def test_a_schema_by_hand_is_checked_as_it_says(arguments: Any, content: str) -> None:
    assert answer(by_hand(), arguments).content.startswith(content)


def test_the_schema_is_shown_as_it_was_given_and_says_that_nothing_else_is_taken() -> None:
    given = copy.deepcopy(SCHEMA)
    tool = Tool("hand", "By hand.", given, lambda context, **_: "")
    given["properties"].clear()
    assert tool.schema["function"]["parameters"] == {**SCHEMA, "additionalProperties": False}
    tool.schema["function"]["parameters"]["properties"].clear()
    assert tool.schema["function"]["parameters"]["properties"] == SCHEMA["properties"]
    assert answer(by_hand(additionalProperties=True), {"n": 1, "x": None}) == ToolResult('{"n": 1, "x": null}')
    assert answer(by_hand(additionalProperties=True), '{"n": 1, "x": "\\ud800"}').content.startswith(
        "error: x is not valid"
    )


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (["a"], "are name -> description, or a JSON Schema"),
        ({"n": {"type": "integer"}}, "are name -> description, or a JSON Schema"),
        ({"type": "object", "properties": ["n"]}, "properties is an object of name: schema; got"),
        ({"type": "object", "properties": {"n": {"type": "int"}}}, r"n: type is one of string, .*; got 'int'"),
        ({"type": "object", "properties": {"n": {"type": []}}}, "type is one of string"),
        (
            {"type": "object", "properties": {"n": {"$ref": "#/n"}}},
            r"\$ref' is not supported here; beside type  there are: default, ",
        ),
        ({"type": "object", "properties": {"n": {"pattern": "a"}}}, "'pattern' is not supported"),
        ({"type": "object", "properties": {"n": "integer"}}, "a schema is an object, such as"),
        ({"type": "object", "properties": {"n": {"type": "array", "items": [{}]}}}, r"n\[\]: a schema is an object"),
        ({"type": "object", "properties": {"n": {"anyOf": []}}}, "anyOf is a list of schemas"),
        ({"type": "object", "properties": {"n": {"enum": []}}}, "enum is a list of values"),
        ({"type": "object", "properties": {"n": {"type": "integer", "minimum": "x"}}}, "argument n .* cannot be used"),
        ({"type": "object", "properties": {"n": {"minimum": 1}}}, "'minimum' is not supported here"),
        ({"type": "object", "properties": {"n": {"type": "string", "maxLength": -1}}}, "cannot be used"),
        ({"type": "object", "properties": {"n": {"description": 1}}}, "title and description are texts; got"),
        ({"type": "object", "properties": {"n": {}}, "required": ["m"]}, "required is a list of names in properties"),
        ({"type": "object", "properties": {"n": {}}, "required": [["n"]]}, "required is a list of names in properties"),
        (
            {"type": "object", "properties": {"n": {"type": "integer", "default": "1"}}},
            'the default cannot be given: n must be an integer; got str "1"',
        ),
        ({"type": "object", "properties": {"n": {"default": {1}}}}, "are no JSON: Object of type set"),
    ],
)
def test_a_schema_that_is_not_understood_is_refused_when_the_tool_is_made(parameters: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)tool 't'.*?{words}"):
        Tool("t", "It.", parameters, lambda context, **_: "")


def test_a_function_that_the_schema_does_not_fit_is_refused_when_the_tool_is_made() -> None:
    one = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}
    for parameters, function, words in (
        ({"word": "it"}, lambda context: "", "got an unexpected keyword argument 'word'"),
        ({"context": "it"}, lambda context: "", "multiple values for argument 'context'"),
        (one, lambda context, a, b: "", "missing a required argument: 'b'"),
        ({}, "shell", "the function of the tool 't' cannot be called: 'shell'"),
    ):
        with pytest.raises(ConfigError, match=words):
            Tool("t", "It.", parameters, function)  # type: ignore[arg-type]


async def waits(context: ToolContext) -> str:
    """Wait."""
    return ""


def yields(context: ToolContext) -> Any:
    """Yield."""
    yield ""


@pytest.mark.parametrize("function", [waits, yields])
def test_a_function_that_does_not_return_its_answer_is_refused(function: Any) -> None:
    for make in (Tool.from_function, lambda it: Tool("t", "It.", {}, it)):
        with pytest.raises(ConfigError, match="must return its answer; it is async or yields"):
            make(function)


class Counter:
    """Counts."""

    def __call__(self, context: ToolContext, n: int) -> ToolResult:
        return ToolResult(str(n), ok=n > 0)

    def count(self, context: ToolContext, n: int) -> str:
        """Count.

        :param n: how many
        """
        return str(n)


def _bad(annotation: Any, default: Any = ...) -> Any:
    """A function with one argument `x` of this annotation."""

    def count(context, x):  # type: ignore[no-untyped-def]
        """Count."""

    count.__annotations__ = {"x": annotation}
    if default is not ...:
        count.__defaults__ = (default,)
    return count


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_bad(Counter), "count, parameter x has the annotation .*Counter.*, which cannot be used: Unable to generate"),
        (_bad("Nowhere"), "count, parameter x: the annotation 'Nowhere' cannot be read: name 'Nowhere' is not defined"),
        (_bad(enum.Enum("Odd", {"A": object()})), "parameter x has the annotation .*Odd.*, which cannot be used"),
        (_bad(int, "3"), 'count, parameter x: the default cannot be given: x must be an integer; got str "3"'),
        (_bad(float, math.inf), "parameter x: the default cannot be given: x must be a finite number"),
        (lambda context, x: "", "parameter x has no annotation, such as `int`"),
        (lambda context, *x: "", "a policy passes arguments by name"),
        (lambda context, **x: "", "a policy passes arguments by name"),
        (lambda: "", "a function whose first parameter gets the ToolContext; got"),
        (lambda *, context: "", "the first parameter of <lambda> gets the episode's ToolContext"),
        (lambda context: "", "'<lambda>' is no name for a tool: give name="),
        (lambda context: "", "t has no docstring: write one, or give description="),
        ("count", "a function whose first parameter gets the ToolContext; got 'count'"),
    ],
)
def test_a_function_that_cannot_be_described_is_refused_by_name_and_parameter(function: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Tool.from_function(function, name="t" if words.startswith("t has") else None)


def test_a_function_without_a_context_is_refused() -> None:
    def count(word: str) -> str:
        """Count."""
        return word

    with pytest.raises(ConfigError, match=r"write `def count\(context: ToolContext, \.\.\.\)`; got word: 'str'"):
        Tool.from_function(count)


def test_any_callable_makes_a_tool() -> None:
    tools = [
        Tool.from_function(Counter(), name="object"),
        Tool.from_function(Counter().count, description="It counts.", in_prompt="count: it counts"),
        Tool.from_function(functools.partial(keep, whole=True), name="partial"),
    ]
    box = Toolbox(tools)
    for name, arguments, content in (
        ("object", {"n": 1}, "1"),
        ("count", {"n": 2}, "2"),
        ("partial", {"word": ""}, "kept"),
    ):
        call = {"function": {"name": name, "arguments": json.dumps(arguments)}}
        assert box.call(NONE, call) == ToolResult(content)
    assert not answer(tools[0], {"n": 0}).ok
    assert got["whole"] is True
    assert tools[1].schema["function"]["description"] == "It counts."
    assert tools[1].schema["function"]["parameters"]["properties"] == {
        "n": {"type": "integer", "description": "how many"}
    }
    assert tools[1].in_prompt == "count: it counts"


def test_a_tool_of_a_function_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(KEEP))
    assert again.schema == KEEP.schema
    assert answer(again, {"word": "a", "color": "blue"}).ok
    assert got["color"] is Color.BLUE


# A tool that breaks.


def broken(context: ToolContext, kind: str = "KeyError") -> Any:
    """Break."""
    if kind == "nothing":
        return None
    if kind == "bytes":
        return ToolResult(b"")  # type: ignore[arg-type]
    if kind == "ok":
        return ToolResult("", ok=1)  # type: ignore[arg-type]
    if kind == "exit":
        raise SystemExit(0)
    raise {"KeyError": KeyError, "policy": ToolError, "box": SandboxError, "config": ConfigError}[kind]("it")


BROKEN = Tool.from_function(broken, name="count")


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("KeyError", BrokenToolError, "tool 'count' failed: KeyError: 'it'"),
        ("config", BrokenToolError, "tool 'count' failed: ConfigError: it"),
        ("exit", BrokenToolError, "tool 'count' failed: SystemExit: 0"),
        ("box", SandboxError, "it"),
        ("nothing", BrokenToolError, "tool 'count' returned None; a tool returns a text, or ToolResult"),
        ("bytes", BrokenToolError, "tool 'count' returned ToolResult.content=b''"),
        ("ok", BrokenToolError, "tool 'count' returned ToolResult.content='', ok=1"),
    ],
)
def test_a_tool_that_breaks_is_named(kind: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^{words}") as caught:
        answer(BROKEN, {"kind": kind})
    assert kind != "KeyError" or "in broken" in "".join(traceback.format_exception(caught.value))
    assert answer(BROKEN, {"kind": "policy"}) == ToolResult("error: it", ok=False)


def test_a_tool_without_arguments_says_so() -> None:
    """It was "look takes exactly  (unknown: n)"."""
    look = Tool("look", "Look.", {}, lambda context: "seen")
    assert answer(look, {}) == ToolResult("seen")
    assert answer(look, {"n": 1}).content == "error: look takes no arguments (unknown: n)"


def test_the_void_of_a_broken_tool_names_it_everywhere(
    env: NanoCodexEnv, task: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was a bare `KeyError: 'it'`."""
    said = "BrokenToolError: tool 'count' failed: KeyError: 'it'"
    call = tool_call("count")
    arguments: dict[str, Any] = {"tools": [BROKEN], "log_dir": tmp_path / "own"}
    with NanoCodexEnv(task, MENDED, **arguments) as own:
        own.reset()
        log = own.episode.log
        with pytest.raises(BrokenToolError):
            own.step(call)
        assert log
        assert Trajectory.load(log.folder).metadata["void"] == said
        assert rollout(own, Scripted([assistant("", call)]), task=task).void == said
    [result] = rollouts([task], Scripted([assistant("", call)]), reward=MENDED, progress=False, **arguments)
    assert result.void == said
    trl: Any = TrlSpec(task, MENDED, tools=[BROKEN]).environment_factory()
    trl.reset(task=0)
    assert trl.count() == EPISODE_OVER
    assert trl._score([*first_messages(task), assistant("done")]) is None
    voids = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(voids) == 3
    assert all("in broken" in record.getMessage() and said in record.getMessage() for record in voids)


def test_an_episode_with_typed_arguments_is_logged_and_replayed(task: Task, tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = [
        {"word": "a", "limit": 10**400},
        {"word": "a", "limit": "3"},
        {"word": "a", "color": "blue", "spans": []},
    ]
    with NanoCodexEnv(task, MENDED, tools=[KEEP], log_dir=tmp_path) as env:
        env.reset()
        log = env.episode.log
        for arguments in calls:
            *_, info = env.step({"type": "function", "function": {"name": "keep", "arguments": arguments}})
            assert info["ok"] == [arguments.get("limit") != "3"]
        env.step(assistant("done"))
    assert log
    assert Trajectory.load(log.folder).tools == [KEEP.schema]
    assert replay(log.folder, tools=[KEEP]).identical


def test_trl_sees_the_types(task: Task) -> None:
    """It derives a schema of a method's annotations, which were all `str`."""
    trl: Any = TrlSpec(task, MENDED, tools=[KEEP, by_hand()]).environment_factory()
    parameters = inspect.signature(trl.keep).parameters
    assert [name for name, one in parameters.items() if one.default is one.empty] == ["word"]
    assert (parameters["limit"].annotation, parameters["limit"].default) == (int, 10)
    assert get_args(parameters["share"].annotation) == (float, type(None))
    assert type(trl).keep.__annotations__["mode"] == Literal["lines", "words", 3]
    assert type(trl).hand.__annotations__ == {
        "n": int,
        "text": str,
        "items": list,
        "on": Literal[True],
        "level": list[Literal[1, 2]],
        "any": Any,
    }
    assert "    limit: how many: at most (default: 10)\n" in type(trl).keep.__doc__
    assert "    n: how many (minimum: 1, exclusiveMaximum: 5)\n" in type(trl).hand.__doc__
    trl.reset(task=0)
    assert trl.keep(word="a", color="blue") == "kept"
    assert got["color"] is Color.BLUE
    assert trl.keep(word="a", limit="3") == 'error: limit must be an integer; got str "3"'


@pytest.mark.slow
def test_transformers_makes_these_schemas_of_it(task: Task) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed (pip install '.[trl]')")
    trl: Any = TrlSpec(task, MENDED, tools=[KEEP, by_hand()]).environment_factory()
    hand, kept = (tool["function"]["parameters"] for tool in trl.tool_schemas)
    assert (kept["required"], hand["required"]) == (["word"], ["n"])
    assert kept["properties"]["limit"] == {"type": "integer", "description": "how many: at most (default: 10)"}
    assert kept["properties"]["color"]["enum"] == ["red", "blue"]
    assert kept["properties"]["paths"]["items"] == {"type": "string"}
    assert kept["properties"]["spans"]["type"] == "array"
    assert "first" in kept["properties"]["spans"]["description"]
    assert list(hand["properties"]) == list(SCHEMA["properties"])

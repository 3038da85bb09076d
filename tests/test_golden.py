"""Recorded behaviour: observations, tools, prompts, logs, results, exports, help and exit codes, as they were once.

The goldens lie in tests/golden and are compared as text. To record them anew:

    pytest tests/test_golden.py -m "slow or not slow" --golden

and read `git diff tests/golden`: each changed line is a change that a policy, a reader of logs or a user sees. The runs
in tests/golden/runs stay as they are, so that logs of earlier versions stay readable; see old_runs.py.

Left out or put in words, since no two runs share it: wall time, versions, paths, names of folders, the count of bytes
after which a flood is stopped. A run of more than 199 equal characters stands as `<200 times x>`. Rewards are
`Resolved(integrity="fast")`, in which nothing depends on chance.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from nano_codex_env import (
    Agent,
    ChatPolicy,
    Idle,
    NanoCodexEnv,
    Oracle,
    Policy,
    Resolved,
    Task,
    Trajectory,
    from_function,
    load_tasks,
    rollouts,
    save_tasks,
)

# All that is not a public name is imported here and in tour.py: what moves is mended in these lines and nowhere else.
from nano_codex_env.cli import main
from nano_codex_env.sandbox import Sandbox
from tests.conftest import git
from tests.old_runs import MAKERS, RUN, make_run
from tests.server import by_turn, completion, serve
from tests.tour import EXECUTABLE, FILES, FIX, LINKS, TOUR, Script, call, next_reply, say

GOLDEN = Path(__file__).parent / "golden"
CONCURRENCY = 4
EVERY_DAY = ("jobline-order", "ledger-csv", "pocket-tint")
"""Bundled tasks of the fast suite; the others are compared by the slow one."""

Golden = Callable[[str, str], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares a text with the recorded one, or records it if pytest was given --golden."""

    def check(name: str, text: str) -> None:
        path, text = GOLDEN / name, _short(text)
        if request.config.getoption("--golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
        recorded = path.read_text(encoding="ascii")
        if text != recorded:
            diff = difflib.unified_diff(recorded.split("\n"), text.split("\n"), f"golden/{name}", "now", "", "", 1, "")
            pytest.fail("\n".join(line[:1000] for line in list(diff)[:60]), pytrace=False)

    return check


def _short(text: str) -> str:
    return re.sub(r"([^ ])\1{199,}", lambda run: f"<{len(run[0])} times {run[1]}>", text)


def as_text(value: object) -> str:
    """JSON over several lines, key order kept."""
    return json.dumps(value, indent=1) + "\n"


def jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


@pytest.fixture(scope="module")
def bundled() -> dict[str, Task]:
    """The bundled tasks by name."""
    return {task.instance_id: task for task in load_tasks()}


# what an episode leaves behind


def normalize_metadata(about: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Metadata of an episode without what no two runs share; the task, which has a golden of its own, by its name."""
    kinds = {"started": float, "seconds": float, "versions": dict}
    assert all(isinstance(about[key], kind) for key, kind in kinds.items() if key in about)
    assert all(isinstance(version, str) for version in about["versions"].values())
    named = {"versions": list(about["versions"]), **{key: key for key in ("started", "seconds") if key in about}}
    assert json.dumps(about["task"]) == json.dumps(task.to_row())
    found = {**about, **named, "task": task.instance_id}
    if "branched" in about:
        found["branched"] = {**about["branched"], "from": "folder"}
    return found


def read_log(folder: Path, task: Task) -> dict[str, Any]:
    """The files of an episode's log, those of JSON lines and the patch line by line."""
    names = {"messages.jsonl", "tools.json", "metadata.json", "diff.patch", "tokens.jsonl"}
    assert {path.name for path in folder.iterdir()} <= names
    text = (folder / "metadata.json").read_text(encoding="ascii")
    about = json.loads(text)
    assert text == json.dumps(about, indent=2) + "\n"
    lines = {
        name: (folder / name).read_bytes().decode("utf-8", "surrogateescape").split("\n")
        for name in ("messages.jsonl", "diff.patch", "tokens.jsonl")
        if (folder / name).exists()
    }
    return {**lines, "metadata.json": normalize_metadata(about, task)}


def normalize_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of results.jsonl; its diff is the log's."""
    folder, diff = row["folder"], row["diff"]
    assert folder is None or diff in ("", Path(folder, "diff.patch").read_bytes().decode("utf-8", "surrogateescape"))
    assert isinstance(row["seconds"], float)
    return {**row, "seconds": "seconds", "folder": folder and "folder", "diff": bool(diff) and "diff.patch"}


# bundled tasks


def infos(task: Task, policy: Policy, reward: Resolved, sandbox: Sandbox) -> dict[str, Any]:
    """What `reset` and each `step` give beside the observation."""
    with gym.make("NanoCodex-v0", tasks=[task], reward=reward, sandbox=sandbox, log_dir=None) as env:
        observation, first = env.reset(seed=0)
        found: dict[str, Any] = {"reset": {**first, "tools": "tools.json"}, "rewards": [], "steps": [], "flags": []}
        over = False
        while not over:
            message = policy(observation, first["tools"]).message
            observation, value, terminated, truncated, info = env.step(message)
            over = terminated or truncated
            found["rewards"].append(value)
            found["flags"].append([terminated, truncated])
            found["steps"].append(info)
    return found


def play_bundled(tasks: Sequence[Task], policy: Policy, sandbox: Sandbox, out: Path, golden: Golden) -> None:
    reward = Resolved(integrity="fast", sandbox=sandbox)
    results = rollouts(tasks, policy, reward=reward, sandbox=sandbox, out=out, concurrency=CONCURRENCY, progress=False)
    rows = {row["instance_id"]: row for row in jsonl(out / "results.jsonl")}
    assert [json.dumps(rows[task.instance_id]) for task in tasks] == [json.dumps(result.row()) for result in results]
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        told = list(pool.map(lambda task: infos(task, policy, reward, sandbox), tasks))
    for task, info in zip(tasks, told, strict=True):
        row = rows[task.instance_id]
        last = info["steps"][-1]
        assert last["diff"] == row["diff"]
        info["steps"][-1] = {**last, "diff": bool(last["diff"]) and "diff.patch"}
        golden("tools.json", Path(row["folder"], "tools.json").read_text(encoding="ascii"))
        found = {**read_log(Path(row["folder"]), task), "results.jsonl": normalize_row(row), "info": info}
        golden(f"bundled/{type(policy).__name__.lower()}/{task.instance_id}.json", as_text(found))


POLICIES = [lambda tasks: Idle(), Oracle]


@pytest.mark.parametrize("make", POLICIES, ids=["idle", "oracle"])
@pytest.mark.parametrize("every_day", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["some", "others"])
def test_episodes_on_bundled_tasks_are_as_recorded(
    make: Callable[[Sequence[Task]], Policy],
    every_day: bool,
    bundled: dict[str, Task],
    sandbox: Sandbox,
    tmp_path: Path,
    golden: Golden,
) -> None:
    """Transcript, tools, info, log and row of each task, played by the reference patch and by nobody."""
    tasks = [task for name, task in bundled.items() if (name in EVERY_DAY) == every_day]
    play_bundled(tasks, make(tasks), sandbox, tmp_path, golden)


def test_bundled_tasks_are_as_recorded(bundled: dict[str, Task], golden: Golden) -> None:
    """Their commits, too, on which logs of earlier runs rest; texts and test ids by their hash."""
    rows = []
    for task in bundled.values():
        row = {**task.to_row(), "repo": re.sub(r"^.*/bundled/", "bundled/", task.repo)}
        for key in ("problem_statement", "patch", "test_patch", "FAIL_TO_PASS", "PASS_TO_PASS"):
            row[key] = hashlib.sha256(json.dumps(row[key]).encode("ascii")).hexdigest()[:16]
        rows.append(json.dumps(row))
    golden("bundled/tasks.jsonl", "\n".join(rows) + "\n")


# a tour of what the environment says


@pytest.fixture(scope="module")
def tour_task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A small repository with a file of each kind; its commit is the same whenever it is made."""
    folder = tmp_path_factory.mktemp("tour")
    for path, content in FILES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        (folder / path).chmod(0o755 if path == EXECUTABLE else 0o644)
    for path, target in LINKS.items():
        (folder / path).symlink_to(target)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return Task("tour", str(folder), git(folder, "rev-parse", "HEAD"), "add(2, 3) gives -1")


CHANGED = from_function(lambda task, transcript, diff: float(bool(diff)))


def play_script(script: Script, task: Task, sandbox: Sandbox, out: Path) -> dict[str, Any]:
    rollouts(
        task, lambda messages, tools: next_reply(script, messages), reward=CHANGED, sandbox=sandbox, out=out,
        concurrency=1, progress=False, **{"max_steps": 200, **script.env},
    )  # fmt: skip
    [row] = jsonl(out / "results.jsonl")
    tools = (Path(row["folder"]) / "tools.json").read_text(encoding="ascii")
    found = {**read_log(Path(row["folder"]), task), "results.jsonl": normalize_row(row)}
    return {**found, "tools.json": tools.split("\n")} if "tools" in script.env else found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * script.slow) for name, script in TOUR.items()]
)
def test_what_a_policy_is_told_is_as_recorded(
    name: str, tour_task: Task, sandbox: Sandbox, tmp_path: Path, golden: Golden
) -> None:
    """Every mistake, limit and notice, word by word."""
    text = as_text(play_script(TOUR[name], tour_task, sandbox, tmp_path))
    if name == "flood":
        text, found = re.subn(r"(?<=\[\.\.\. )\d{8} bytes(?= left out \.\.\.\])", "many bytes", text)
        assert found == 1
    golden(f"tour/{name}.json", text)


def test_the_log_of_a_branch_is_as_recorded(tour_task: Task, sandbox: Sandbox, tmp_path: Path, golden: Golden) -> None:
    with NanoCodexEnv([tour_task], reward=CHANGED, sandbox=sandbox, log_dir=tmp_path) as env:
        env.reset(seed=0)
        env.step(FIX)
        [branch] = env.fork(1)
        with branch:
            folder = branch.episode.log.folder if branch.episode.log else tmp_path
            branch.step(call("shell", cmd="cat sums.py"))
            branch.step(say("done"))
    golden("tour/branch.json", as_text(read_log(folder, tour_task)))


# what an endpoint is asked


def test_what_an_endpoint_is_asked_is_as_recorded(
    tour_task: Task, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    """The requests of `ChatPolicy` and of `Agent`, whole, and what the agent's log says of its model."""
    monkeypatch.chdir(tmp_path)
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "-q", tour_task.repo, str(checkout))
    answers = by_turn(completion("", {"id": "abc", **FIX}, usage={"total_tokens": 50}), completion("done"))
    with serve(answers) as server, ChatPolicy("hosted_vllm/m", server.url, temperature=0.5) as policy:
        rollouts(tour_task, policy, reward=CHANGED, sandbox=sandbox, out=tmp_path / "out", progress=False)
        asked = list(server.requests)
    with serve(answers) as server:
        agent = Agent("hosted_vllm/m", server.url, top_k=20)
        diff = agent.run("add(2, 3) gives -1", checkout)
        asked_by_agent = list(server.requests)
    [row] = jsonl(tmp_path / "out" / "results.jsonl")
    folders = (str(row["folder"]), str(agent.folder))
    policies = [json.loads(Path(folder, "metadata.json").read_text())["policy"] for folder in folders]
    about = as_text({"ChatPolicy": asked, "Agent": asked_by_agent, "policies": policies, "diff": diff.split("\n")})
    golden("endpoint.json", re.sub(r"http://127\.0\.0\.1:\d+", "http://localhost", about))


# runs of earlier versions


@pytest.fixture
def runs(
    request: pytest.FixtureRequest, bundled: dict[str, Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the recorded runs, beside which one stands; their repository is where it is on this machine."""
    monkeypatch.chdir(tmp_path)
    for name in MAKERS:
        if request.config.getoption("--golden") and not (GOLDEN / "runs" / name).exists():
            make_run(name, [bundled[task] for task in RUN], GOLDEN / "runs" / name)
        shutil.copytree(GOLDEN / "runs" / name, tmp_path / name)
    for path in tmp_path.glob("*/*/metadata.json"):
        about = json.loads(path.read_text(encoding="ascii"))
        about["task"]["repo"] = bundled[about["task"]["instance_id"]].repo
        path.write_text(json.dumps(about, indent=2) + "\n", encoding="ascii")
    return tmp_path


def finished(run: Path) -> list[Path]:
    """Folders of the episodes that came to an end."""
    return sorted(path.parent for path in run.glob("*/diff.patch"))


@pytest.mark.parametrize(("name", "count"), [("complete", 6), ("resumable", 4), ("torn", 3)])
def test_old_episodes_replay_identically(name: str, count: int, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(folder.relative_to(runs)) for folder in finished(runs / name)]
    assert main(["replay", *folders]) == 0
    said = capsys.readouterr()
    verdicts = re.findall(r"^(.*): \d+ messages, identical$", said.out, re.M)
    assert verdicts == folders
    assert (len(folders), said.err) == (count, "")
    assert main(["replay", name]) == 0
    assert capsys.readouterr().out.count("identical\n") == {"complete": 6, "resumable": 4, "torn": 2}[name]


def test_an_old_log_that_is_torn_is_read_up_to_there_and_replayed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [folder] = {path.parent for path in runs.glob("torn/*/messages.jsonl")} - set(finished(runs / "torn"))
    found = Trajectory.load(folder)
    assert found.torn
    assert [message["role"] for message in found.messages] == ["system", "user", "assistant"]
    assert (found.metadata["stop"], found.diff, found.tokens) == (None, "", [])
    assert main(["replay", str(folder)]) == 0
    assert capsys.readouterr().out.endswith(": 3 messages, identical\n")


@pytest.mark.parametrize(("name", "kept", "played"), [("resumable", 3, 3), ("torn", 2, 2), ("complete", 6, 0)])
def test_an_old_run_is_resumed_and_only_what_is_missing_is_played(
    name: str, kept: int, played: int, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (runs / name).glob("*/*")}
    lines = (runs / name / "results.jsonl").read_bytes().splitlines(keepends=True)
    valued = [line for line in lines if line.endswith(b"\n") and json.loads(line)["reward"] is not None]
    assert main(["run", "--out", name, "--resume"]) == 0
    assert re.search(rf"{kept + played} episodes, mean reward .*, 0 void; logs in {name}\n$", capsys.readouterr().out)
    now = (runs / name / "results.jsonl").read_bytes().splitlines(keepends=True)
    assert (len(valued), now[:kept]) == (kept, valued)
    added = [json.loads(line) for line in now[kept:]]
    folders = {path.parent for path in (runs / name).glob("*/*")} - {path.parent for path in before}
    assert {row["folder"] for row in added} == {str(folder.relative_to(runs)) for folder in folders}
    assert len(added) == len(folders) == played
    assert all(row["reward"] > 0.7 for row in added)
    assert {path: path.read_bytes() for path in before} == before


def test_old_runs_are_read_as_recorded(runs: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """Scores and statistics of all runs, the torn one too."""
    torn = [str(path.parent.relative_to(runs)) for path in sorted(runs.glob("torn/*/messages.jsonl"))]
    assert main(["score", "complete", "resumable", *torn, "--reward", "similarity", "--json", "--out", "s.jsonl"]) == 1
    scores = json.loads(capsys.readouterr().out)["scores"]
    read = []
    for folder in sorted(path.parent.relative_to(runs) for path in runs.glob("*/*/messages.jsonl")):
        found = Trajectory.load(folder)
        about = {key: found.metadata.get(key) for key in ("attempt", "stop", "reward", "void", "steps", "counts")}
        task = found.task.instance_id
        read.append([str(folder), task, len(found.messages), len(found.diff), found.torn, *about.values()])
    golden("old_runs.json", as_text({"scores": scores, "episodes": [json.dumps(row) for row in read]}))


@pytest.mark.slow
def test_an_old_run_is_scored_as_it_was(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "complete", "--json", "--out", "s.jsonl"]) == 0
    rows = jsonl(runs / "complete" / "results.jsonl")
    scores = {row["folder"]: row for row in json.loads(capsys.readouterr().out)["scores"]}
    assert {row["folder"]: row["reward"] for row in rows} == {name: row["reward"] for name, row in scores.items()}
    assert {row["folder"]: row["parts"] for row in rows} == {name: row["parts"] for name, row in scores.items()}


# exports


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sft", ["--min-reward", "0", "--best", "2"]),
        ("dpo", ["--pairs", "2"]),
        ("preds", []),
        ("preds", ["--attempt", "1"]),
    ],
    ids=["sft", "dpo", "preds", "preds-of-second-attempts"],
)
def test_exports_of_runs_are_as_recorded(
    kind: str, options: list[str], runs: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    assert main(["export", kind, "complete", *options, "--out", "made.jsonl"]) == 0
    rows = jsonl(runs / "made.jsonl")
    assert (runs / "made.jsonl").read_text() == "".join(json.dumps(row) + "\n" for row in rows)
    golden(f"exports/{'-'.join([kind, *options]).replace('--', '')}.json", as_text([capsys.readouterr().out, *rows]))


def test_prompts_for_verl_are_as_recorded(
    bundled: dict[str, Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    from pyarrow import parquet

    monkeypatch.chdir(tmp_path)
    assert main(["export", "verl-parquet", "--only", *RUN[:2], "--out", "made.parquet"]) == 0
    table = parquet.read_table("made.parquet")
    rows = table.to_pylist()
    for row in rows:
        task = json.loads(row["extra_info"]["task"])
        assert Task.from_row(task) == bundled[task["instance_id"]]
        row["extra_info"]["task"] = row["extra_info"]["task"] == json.dumps(bundled[task["instance_id"]].to_row())
    golden("exports/verl-parquet.json", as_text({"schema": str(table.schema).split("\n"), "rows": rows}))


def test_tasks_for_harbor_are_as_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    """Each file with its hash; the Dockerfile without versions; verify.py, which is code of ours, by its name."""
    monkeypatch.chdir(tmp_path)
    assert main(["export", "harbor", "--only", *RUN[:2], "--out", "made"]) == 0
    lines = []
    for path in sorted(Path("made").rglob("*")):
        if path.is_file() and path.name != "verify.py":
            text = path.read_bytes()
            if path.name == "Dockerfile":
                text = re.sub(rb"(python:|pytest==)[\w.]+", rb"\1VERSION", text)
            digest = hashlib.sha256(text).hexdigest()[:16]
            lines.append(f"{digest} {'x' if path.stat().st_mode & 0o100 else '-'} {path.relative_to('made')}\n")
        elif path.is_file():
            lines.append(f"{'code of ours':16} - {path.relative_to('made')}\n")
    golden("exports/harbor.txt", "".join(lines))


# the command line

COMMANDS = (
    *("", "run", "agent", "replay", "score", "check-reward"),
    *("tasks", "tasks list", "tasks prepare", "tasks validate", "tasks pypi"),
    *("export", "export sft", "export dpo", "export preds", "export verl-parquet", "export harbor"),
    *("templates", "cache", "cache ls", "cache prune", "doctor"),
)
ONE = f"--only {RUN[2]}"
DONE = (
    f"run {ONE} --policy idle --reward similarity --out new",
    f"run {ONE} --policy random --reward similarity --out new --json",
    "run --out resumable --resume",
    f"run {ONE} --deadline -1 --out new",
    f"run {ONE} --out complete",
    "run --out nothing --resume",
    "run --resume",
    "run --out resumable --resume --policy idle",
    "run --config nothing.toml",
    "run --tasks nothing.jsonl",
    f"run {ONE} --policy nobody",
    f"run {ONE} --reward money",
    "run --only nobody",
    "run -n many",
    "run -n 0",
    f"run {ONE} --set env.max_steps=0",
    f"run {ONE} --set max_steps",
    "agent issue --model hosted_vllm/m --api-base URL --path checkout --no-log",
    "agent issue --model hosted_vllm/m --api-base URL --path nothing --no-log",
    "agent issue --model m --path checkout --no-log",
    "agent issue",
    "agent issue --model hosted_vllm/m --token-limit many",
    "replay complete",
    "replay nothing",
    "replay complete nothing",
    "replay changed",
    "replay",
    "score complete --reward similarity --out s.jsonl",
    "score complete --reward similarity --json --out s.jsonl",
    "score resumable --reward similarity --out s.jsonl",
    "score nothing --reward similarity --out s.jsonl",
    "score complete --reward money --out s.jsonl",
    "score complete --reward similarity --resume",
    "score complete --reward similarity --concurrency 0 --out s.jsonl",
    "score",
    "check-reward money",
    "check-reward resolved --tasks nothing.jsonl",
    "check-reward",
    "tasks list",
    "tasks list task.jsonl",
    "tasks list nothing.jsonl",
    "tasks prepare nothing.jsonl",
    "tasks prepare task.jsonl task.jsonl",
    "tasks validate nothing.jsonl",
    "tasks pypi x 1 2 --out x.json",
    "tasks pypi x 1",
    *(f"export {kind} complete --out made.jsonl" for kind in ("sft", "dpo", "preds")),
    *(f"export {kind} nothing --out made.jsonl" for kind in ("sft", "dpo", "preds")),
    *(f"export {kind} complete --out made.json" for kind in ("sft", "dpo", "preds")),
    *(f"export {kind}" for kind in ("sft", "dpo", "preds")),
    "export preds complete --out complete/config.json",
    "export preds complete --out s.jsonl --force",
    "export sft torn --out made.jsonl --min-reward 2",
    "export sft complete --out made.jsonl --best 0",
    "export dpo complete --out made.jsonl --margin 0",
    f"export verl-parquet {ONE} --out made.parquet",
    f"export verl-parquet {ONE} --out made.jsonl",
    "export verl-parquet nothing.jsonl --out made.parquet",
    f"export harbor {ONE} --out made",
    f"export harbor {ONE} --out complete",
    "export harbor nothing.jsonl --out made",
    "templates template.jinja",
    "templates nothing.jinja",
    "templates",
    "cache ls",
    "cache ls --all",
    "cache prune --dry-run",
    "cache prune --unused -1",
    "cache prune --kind nothing",
    "cache prune --unused long",
    "no-such-command",
    "tasks no-such-command",
    *(f"{command} --no-such-option".strip() for command in COMMANDS),
)
"""Commands of which the exit code is recorded; the first that make a folder make it for those after them."""
LONG = (
    f"check-reward resolved {ONE}",
    f"check-reward similarity {ONE}",
    "tasks prepare task.jsonl",
    "tasks validate task.jsonl",
    "doctor",
)
"""Those that take seconds."""


def exit_code(argv: Sequence[str]) -> int:
    """How a command exits."""
    try:
        return main(argv)
    except SystemExit as error:
        return int(error.code or 0)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="from Python 3.13 on, argparse lays help out in another way")
def test_help_is_as_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    texts = []
    for command in COMMANDS:
        assert exit_code([*command.split(), "--help"]) == 0
        texts.append(f"$ nano-codex {command} --help\n".replace("  ", " ") + capsys.readouterr().out)
    golden("cli/help.txt", "\n".join(texts))


@pytest.mark.parametrize(
    ("name", "commands"), [("exit_codes", DONE), pytest.param("exit_codes_slow", LONG, marks=pytest.mark.slow)]
)
def test_exit_codes_are_as_recorded(
    name: str,
    commands: Sequence[str],
    runs: Path,
    tour_task: Task,
    bundled: dict[str, Task],
    capsys: pytest.CaptureFixture[str],
    golden: Golden,
) -> None:
    """With each, whether anything is said on stdout and on stderr."""
    save_tasks([bundled[RUN[2]]], Path("task.jsonl"))
    shutil.copyfile(Path(__file__).parent / "data" / "smollm2_tools.jinja", "template.jinja")
    shutil.copytree(finished(runs / "complete")[0], "changed")
    Path("changed/diff.patch").write_text("another\n")
    git(runs, "clone", "-q", tour_task.repo, "checkout")
    lines = []
    with serve([completion("done")]) as server:
        for command in commands:
            shutil.rmtree("new", ignore_errors=True)
            Path("s.jsonl").unlink(missing_ok=True)
            for path in Path().glob("made*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            code = exit_code([server.url if word == "URL" else word for word in shlex.split(command)])
            said = capsys.readouterr()
            streams = [name for name, text in (("stdout", said.out), ("stderr", said.err)) if text]
            lines.append(f"{code} {'+'.join(streams) or 'nothing':13} nano-codex {command}\n")
    golden(f"cli/{name}.txt", "".join(lines))


def test_every_golden_has_a_test(bundled: dict[str, Task]) -> None:
    """A file that nothing compares would be no golden."""
    names = {"system_prompt.txt", "tools.json", "endpoint.json", "old_runs.json", "bundled/tasks.jsonl"}
    names |= {f"bundled/{policy}/{name}.json" for policy in ("idle", "oracle") for name in bundled}
    names |= {f"tour/{name}.json" for name in (*TOUR, "branch")}
    names |= {f"cli/{name}.txt" for name in ("help", "exit_codes", "exit_codes_slow")}
    kinds = ("sft-min-reward-0-best-2", "dpo-pairs-2", "preds", "preds-attempt-1", "verl-parquet")
    names |= {"exports/harbor.txt", *(f"exports/{kind}.json" for kind in kinds)}
    files = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("runs/")} == names
    assert {path.name for path in (GOLDEN / "runs").iterdir()} == set(MAKERS)

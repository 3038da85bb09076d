"""The benchmark that ships runs, and its table and file say what was measured; no time is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.benchmark.measure import Wanted, compare, counted, interleave, quantile
from examples.benchmark.page import insert

ROOT = Path(__file__).parent.parent


def benchmark(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "examples.benchmark", *map(str, arguments)]
    env = {**os.environ, "COLUMNS": "250"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)


def test_a_section_prints_ratios_and_writes_every_figure(tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    done = benchmark("log", "--quick", "--json", file)
    assert done.returncode == 0, done.stderr
    assert "open, append, close" in done.stdout
    rows = json.loads(file.read_text())["rows"]
    assert [row["what"] for row in rows] == ["append (its line is made anyway)", "serialise too"]
    for row in rows:
        assert {"n", "p10", "median", "p90"} < set(row["ours"])
        assert row["ratio"] > 0
        assert row["spread"][0] <= row["ratio_median"] <= row["spread"][1]


def test_what_a_file_holds_is_not_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    assert benchmark("log", "--quick", "--json", file).returncode == 0
    before = json.loads(file.read_text())["rows"]
    assert benchmark("log", "turn", "--quick", "--json", file, "--resume").returncode == 0
    after = json.loads(file.read_text())["rows"]
    assert after[: len(before)] == before
    assert {row["section"] for row in after} == {"log", "turn"}


@pytest.mark.parametrize("arguments", [["no-such-section"], ["log", "--resume"]])
def test_what_it_cannot_do_is_said(arguments: list[str]) -> None:
    done = benchmark(*arguments)
    assert done.returncode == 2
    assert "there are: shell" in done.stderr or "name it with --json" in done.stderr


@pytest.mark.slow
def test_every_section_runs_and_a_soak_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    done = benchmark("--quick", "--json", file)
    assert done.returncode == 0, done.stderr
    goals = {row["goal"] for row in json.loads(file.read_text())["rows"]}
    assert goals == {"", *map(str, range(1, 12))}
    done = benchmark("soak", "--quick", "--episodes", "40", "--json", file)
    assert done.returncode == 0, done.stderr
    left = {row["what"]: row["ours"]["median"] for row in json.loads(file.read_text())["rows"]}
    assert {what: count for what, count in left.items() if what.endswith("after close")} == {
        "processes after close": 0,
        "session folders after close": 0,
    }
    assert left["mounts: growth from 4 to 40 episodes"] == 0


def test_cases_are_called_in_turn_and_each_round_begins_with_another() -> None:
    called: list[str] = []
    cases = {name: lambda name=name: called.append(name) for name in "abc"}
    times = interleave(cases, rounds=2, each={"a": 2})
    assert "".join(called) == "abc" + "aabc" + "bcaa"
    assert [len(rounds) for rounds in times["a"]] == [2, 2]


def test_a_row_compares_p10s_and_medians_of_rounds() -> None:
    times = {"ours": [[1.0, 3.0], [2.0, 2.0]], "theirs": [[4.0, 4.0], [8.0, 8.0]]}
    row = compare("a", "1", "b", times, "ours", "theirs", unit="s", wanted=Wanted(0.25))
    assert (row.ratio, row.ratio_median, row.spread) == (0.25, 0.375, (0.25, 0.5))
    assert (row.met, row.wanted) == (True, "<= 0.25x")
    assert compare("a", "1", "b", times, "ours", unit="ms", wanted=Wanted(900, "ms")).met is False
    assert counted("a", "1", "b", "MB", [1.0, 5.0, 2.0], Wanted(least=3)).met is False


@pytest.mark.parametrize(("share", "value"), [(0.1, 1), (0.5, 5), (0.9, 9), (1.0, 10)])
def test_a_quantile_is_one_of_the_values(share: float, value: int) -> None:
    assert quantile(range(1, 11), share) == value


def test_figures_replace_those_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generated: figures -->\nold\n<!-- end -->\nafter\n")
    times = {"ours": [[0.002]], "a | b": [[0.004]]}
    rows = [
        compare("log", "1", "a line", times, "ours", "a | b").as_json(),
        counted("many", "", "files", "", [3]).as_json(),
    ]
    machine = {"python": "3.11.7", "kernel": "6.1.0-x", "processors": 2, "load": (0.5, 0, 0), "root": True}
    insert(page, rows, machine, quick=True)
    text = page.read_text()
    assert text.startswith("before\n<!-- generated: figures -->\nMeasured by `python -m examples.benchmark --quick`")
    assert (
        "| log | a line | 2 ms | a \\| b | 4 ms | 0.5 |\n| many | files | 3 |  |  |  |\n<!-- end -->\nafter\n" in text
    )
    assert "old" not in text
    page.write_text("no place")
    with pytest.raises(ValueError, match="generated: figures"):
        insert(page, rows, machine, quick=True)

"""The reader of runs: which episodes there are, and what is known of each."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env.errors import TrajectoryError
from nano_codex_env.records.reader import episode_folders, read_runs
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.records.trajectory import LogWriter


def log(run: Path, name: str, **about: Any) -> Path:
    """A finished episode's folder of this name."""
    writer = LogWriter(run, [], {"task": {"instance_id": name}, "policy": {"model": "tiny"}})
    writer.finish("", {"stop": "submitted", "reward": 1.0, "steps": 2, **about})
    return writer.folder.rename(run / f"{name}-{len(list(run.iterdir()))}")


def test_each_episode_of_a_run_is_there_once_with_its_reward_or_why_it_has_none(tmp_path: Path) -> None:
    good, void = log(tmp_path, "b", attempt=3), log(tmp_path, "a", reward=None, void="PolicyError: gone")
    killed, damaged = log(tmp_path, "c", reward=None, stop=None), log(tmp_path, "d")
    (damaged / "metadata.json").write_text("{")
    found = {episode.folder: episode for episode in read_runs([tmp_path, good])}
    assert len(found) == 4
    assert (found[good].instance_id, found[good].attempt, found[good].reward) == ("b", 3, 1.0)
    assert (found[good].model, found[good].steps, found[good].stop) == ("tiny", 2, "submitted")
    assert (found[void].reward, found[void].void) == (None, "PolicyError: gone")
    assert (found[killed].reward, found[killed].void, found[killed].damage) == (None, None, None)
    assert f"cannot read {damaged / 'metadata.json'}" in str(found[damaged].damage)


def test_attempts_without_a_number_are_counted_and_void_ones_are_not_among_them(tmp_path: Path) -> None:
    for void in (None, "gone", None):
        log(tmp_path, "a", void=void)
    found = [(episode.attempt, episode.reward) for episode in read_runs([tmp_path])]
    assert sorted(found, key=str) == [(0, 1.0), (0, None), (1, 1.0)]


def test_of_a_resumed_run_the_episodes_count_that_its_results_name(tmp_path: Path) -> None:
    first, second = log(tmp_path, "a"), log(tmp_path, "a")
    assert list(episode_folders([tmp_path])) == [first, second]
    (tmp_path / "results.jsonl").write_text(json.dumps({"folder": str(second)}) + "\n")
    assert list(episode_folders([tmp_path])) == [second]
    assert [episode.folder for episode in read_runs([tmp_path])] == [second]


def test_a_folder_that_is_neither_a_run_nor_an_episode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="give the folder of an episode, or of a run"):
        read_runs([tmp_path])


def test_a_result_survives_pickling_and_its_row() -> None:
    result = EpisodeResult("a", 0, 1.0, "submitted", 2, 3.5, None, None, "+\udcff\n", {"x": 1}, {"steps": 2.0})
    assert pickle.loads(pickle.dumps(result)) == result == EpisodeResult.from_row(result.row())

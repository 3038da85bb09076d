"""Read runs: which episodes they hold, and what each one's metadata says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.errors import TrajectoryError
from nano_codex_env.messages import without_surrogates
from nano_codex_env.records.rows import read_rows
from nano_codex_env.records.shards import PATTERN, episodes_in, is_episode, is_shard
from nano_codex_env.records.trajectory import read_metadata


@dataclass(frozen=True)
class LoggedEpisode:
    """An episode on disk, as its metadata describes it; `Trajectory.load(folder)` reads the rest."""

    folder: Path
    """Its folder, or its path in a shard."""
    instance_id: str
    """Empty if the log names no task."""
    attempt: int
    """As the log says, or else counted in the order of the folders' names."""
    reward: float | None
    """None: the episode is void, unfinished or damaged."""
    stop: str | None
    steps: int
    model: str
    """The model's name, or else the policy's."""
    void: str | None
    """Why the episode was given up, as the log says."""
    damage: str | None
    """Why the metadata cannot be used."""

    @property
    def name(self) -> str:
        """The folder's name, as valid Unicode."""
        return without_surrogates(self.folder.name)


def episode_folders(folders: Iterable[Path]) -> Iterator[Path]:
    """Each folder, or the episodes in it if it is a run's or a shard; of a resumed run, those that its results name."""
    for folder in folders:
        if is_shard(folder):
            yield from episodes_in(folder) or [folder]  # reading an empty one says so
            continue
        below, nameless = _episodes_below(folder)
        rows = read_rows(folder / "results.jsonl") if below else []
        counted = {Path(row["folder"]).name for row in rows if isinstance(row.get("folder"), str) and row["folder"]}
        found = [path for name, path in sorted(below.items()) if not counted or name in counted] + nameless
        yield from found if found and not os.path.lexists(folder / "messages.jsonl") else [folder]


def _episodes_below(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The episodes of a run by name, and the damaged lines of its shards that tell no name.

    An episode is in a shard and in a folder too if its process was killed while it removed the folder.
    """
    below = {path.parent.name: path.parent for path in folder.glob("*/messages.jsonl")}
    nameless = []
    for shard in sorted(filter(is_shard, folder.glob(PATTERN)), reverse=True):
        for path, named in episodes_in(shard).items():
            if named:
                below[path.name] = path
            else:
                nameless.append(path)
    return below, sorted(nameless)


def existing_episodes(folders: Iterable[Path]) -> list[Path]:
    """`episode_folders`, each once.

    Raises:
        TrajectoryError: a folder does not exist, or holds no episode.
    """
    found = dict[Path, None]()
    for folder in folders:
        try:
            if not os.path.lexists(folder) and not is_shard(folder.parent):
                raise TrajectoryError(f"there is no folder {folder}")
            if folder.is_dir():
                os.listdir(folder)  # `glob` finds nothing where it may not look
            found |= dict.fromkeys(episode_folders([folder]))
        except OSError as error:
            raise TrajectoryError(f"cannot read {folder}: {error}") from error
    for folder in found:
        if not is_episode(folder):
            what = "0 episodes" if is_shard(folder) else "no messages.jsonl"
            raise TrajectoryError(f"{folder} holds {what}; give the folder of an episode, or of a run")
    return list(found)


def read_runs(folders: Iterable[Path]) -> list[LoggedEpisode]:
    """The episodes of runs, or of episodes' own folders, each once, by task and attempt.

    Raises:
        TrajectoryError: a folder does not exist, is neither a run's nor an episode's, or its `results.jsonl` cannot be
            read.
    """
    found: dict[Path, tuple[Path, dict[str, Any], str | None]] = {}
    for folder in existing_episodes(folders):
        about, damage = dict[str, Any](), None
        try:
            about = read_metadata(folder)
            if not isinstance((about.get("task") or {}).get("instance_id", ""), str):
                raise TrajectoryError(f"{folder / 'metadata.json'} is damaged: its task's instance_id must be text")
        except TrajectoryError as error:
            about, damage = {}, str(error)
        place = _resolved(folder)
        is_packed = is_shard(folder.parent) and not damage
        found.setdefault(place.parents[1] / place.name if is_packed else place, (place, about, damage))
    episodes: list[LoggedEpisode] = []
    counts: Counter[tuple[str, bool]] = Counter()
    for folder, about, damage in sorted(found.values(), key=lambda item: (item[0].name, item[0])):
        has_reward = about.get("reward") is not None and bool(about.get("stop")) and not about.get("void")
        name = without_surrogates((about.get("task") or {}).get("instance_id", ""))
        number = counts[name, has_reward]  # a void attempt is played again under its number
        counts[name, has_reward] += 1
        policy = about.get("policy") or {}
        model = policy if isinstance(policy, str) else policy.get("model") or policy.get("name")
        episodes.append(
            LoggedEpisode(
                folder,
                instance_id=name,
                attempt=number if about.get("attempt") is None else about["attempt"],
                reward=float(about["reward"]) if has_reward else None,
                stop=without_surrogates(about["stop"]) if about.get("stop") else None,
                steps=about.get("steps") or 0,
                model=without_surrogates(model) if isinstance(model, str) and model else "unknown",
                void=about.get("void"),
                damage=damage,
            )
        )
    return sorted(episodes, key=lambda episode: (episode.instance_id, episode.attempt))


def _resolved(folder: Path) -> Path:
    """The path without links; that of a shard keeps the shard's name."""
    if is_shard(folder.parent):
        return Path(os.path.realpath(folder.parents[1]), folder.parent.name, folder.name)
    return Path(os.path.realpath(folder))

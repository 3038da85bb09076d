"""A best-first tree search over one episode, drawn as a picture.

Each node is a snapshot of the episode; a move restores it and takes one step. The node most similar to the reference
patch is expanded next, and the best leaf is scored by the task's tests. To use your own models, replace `moves` by
samples of a policy and the similarity by a value model.

    python examples/tree_search.py [PICTURE.svg]

It needs no network, no API key and no Docker.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from nano_codex_env import DiffSimilarity, NanoCodexEnv, Oracle, Resolved, Task, load_tasks
from nano_codex_env.episode import Snapshot
from nano_codex_env.messages import ToolCall, assistant, tool_call


@dataclass
class Node:
    """A state of the episode and the move that led there."""

    snapshot: Snapshot
    move: str
    value: float
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    order: int | None = None
    """The number of the turn in which the node was expanded."""


def right_moves(env: NanoCodexEnv, task: Task) -> list[dict[str, str]]:
    """The arguments of the `apply_patch` calls that make the reference patch."""
    obs, info = env.reset()
    found, oracle = [], Oracle([task])
    while calls := oracle(obs, info["tools"]).message.get("tool_calls"):
        function = calls[0]["function"]
        if function["name"] == "apply_patch":
            found.append(json.loads(function["arguments"]))
        obs, *_ = env.step(calls[0])
    return found


def moves(right: list[dict[str, str]], rng: random.Random) -> list[tuple[str, ToolCall]]:
    """The moves at a node: each correct patch, each of them with a line missing, and a random note."""
    tried = [(f"patch {number}", tool_call("apply_patch", **patch)) for number, patch in enumerate(right, 1)]
    for number, patch in enumerate(right, 1):
        lines = patch["replace"].splitlines(keepends=True)
        del lines[rng.randrange(len(lines))]
        tried.append((f"broken {number}", tool_call("apply_patch", **{**patch, "replace": "".join(lines)})))
    note = f"note {rng.random():.3f}\n"
    return [*tried, ("random", tool_call("apply_patch", search="", replace=note, file=f"notes/{rng.random():.6f}"))]


def search(env: NanoCodexEnv, task: Task, right: list[dict[str, str]], *, turns: int = 8) -> tuple[Node, list[Node]]:
    """Expand up to `turns` nodes, or stop at a perfect one; return the root and all nodes."""
    rng, near = random.Random(0), DiffSimilarity()
    env.reset()
    root = Node(env.snapshot(), "start", 0.0)
    nodes, waiting = [root], [(0.0, 0, root)]
    for turn in range(turns):
        value, _, node = heapq.heappop(waiting)
        node.order = turn
        if value <= -1.0:
            break
        for name, call in moves(right, rng):
            env.restore(node.snapshot)
            if env.step(call)[4]["ok"] == [True]:  # skip a patch that does not apply here
                child = Node(env.snapshot(), name, near(task, [], env.episode.workspace.diff()).value, node)
                node.children.append(child)
                nodes.append(child)
                heapq.heappush(waiting, (-child.value, len(nodes), child))
    return root, nodes


def draw(root: Node, best: Node) -> str:
    """Draw the tree as SVG: darker nodes are more similar to the reference, the path to the best leaf is thick."""
    places: dict[int, tuple[float, float]] = {}
    height = _place(root, 0, 0.0, places)
    path, node = set(), best
    while node.parent:
        path.add(id(node))
        node = node.parent
    shapes: list[str] = []
    _shapes(root, places, path, shapes)
    width = max(x for x, _ in places.values()) + 170
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height + 20:.0f}" '
    return (
        f'{head}font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join([*shapes, "</svg>\n"])
    )


def _place(node: Node, depth: int, top: float, places: dict[int, tuple[float, float]]) -> float:
    bottom = top
    for child in node.children:
        bottom = _place(child, depth + 1, bottom, places)
    bottom = max(bottom, top + 18)
    places[id(node)] = (20 + depth * 170, (top + bottom) / 2 + 6)
    return bottom


def _shapes(node: Node, places: dict[int, tuple[float, float]], path: set[int], shapes: list[str]) -> None:
    x, y = places[id(node)]
    for child in node.children:
        end_x, end_y = places[id(child)]
        line, thick = f"M{x},{y} C{x + 80},{y} {end_x - 80},{end_y} {end_x},{end_y}", 3 if id(child) in path else 1
        shapes.append(f'<path d="{line}" fill="none" stroke="#889" stroke-width="{thick}"/>')
        _shapes(child, places, path, shapes)
    shade = round(235 - 190 * node.value)
    order = "" if node.order is None else f" #{node.order}"
    shapes.append(f'<circle cx="{x}" cy="{y}" r="6" fill="rgb({shade},{shade},255)" stroke="#335"/>')
    halo = 'stroke="white" stroke-width="3" paint-order="stroke"'
    shapes.append(f'<text x="{x + 9}" y="{y + 4}" {halo}>{escape(node.move)} {node.value:.2f}{order}</text>')


def main(picture: str = "tree.svg") -> dict[str, Any]:
    """Search, score the best leaf and draw the tree."""
    task = next(task for task in load_tasks("bundled") if task.instance_id == "roster-nightshift")
    with NanoCodexEnv(task, reward=Resolved(integrity="fast"), log_dir=None) as env:
        right = right_moves(env, task)
        started = time.perf_counter()
        root, nodes = search(env, task, right)
        seconds = time.perf_counter() - started
        best = max(nodes, key=lambda node: node.value)
        env.restore(best.snapshot)
        _, reward, *_ = env.step(assistant("done"))
    Path(picture).write_text(draw(root, best), encoding="utf-8")
    print(
        f"{task.instance_id}: {len(nodes)} nodes in {seconds * 1000:.0f} ms, {seconds / len(nodes) * 1000:.1f} ms each"
    )
    print(f"the reward of the best leaf is {reward}; the tree is drawn in {picture}")
    return {"nodes": len(nodes), "reward": reward}


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The noisy-neighbour effect: how much slower seven episodes become when an eighth one attacks the machine.

It prints ratios of times within this run. Processes, memory, disk and output of the attacker are limited by the
sandbox; what it can still take is processor time, which the kernel divides.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from nano_codex_env import NanoCodexEnv, from_function, load_tasks
from nano_codex_env.messages import tool_call
from nano_codex_env.tools import apply_patch, shell

ATTACKS = {
    "fork bomb": "f() { f | f & }; f",
    "memory": "python3 -c 'x = [bytearray(1 << 20) for _ in range(8000)]'",
    "output flood": "yes",
    "disk fill": "dd if=/dev/zero of=/tmp/fill bs=1M",
    "processors": "for n in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait",
}
CALLS = 30


def make_env() -> NanoCodexEnv:
    """Start an episode of the first bundled task."""
    tools, reward = [shell(timeout=1.0), apply_patch()], from_function(lambda *_: 0.0)
    env = NanoCodexEnv(load_tasks("bundled")[:1], tools=tools, reward=reward, log_dir=None, max_steps=10_000)
    env.reset()
    return env


def latencies(envs: list[NanoCodexEnv]) -> list[float]:
    """Seconds of each call in each episode; the episodes run at the same time."""

    def play(env: NanoCodexEnv) -> list[float]:
        seconds = []
        for _ in range(CALLS):
            started = time.perf_counter()
            *_, info = env.step(tool_call("shell", cmd="ls"))
            seconds.append(time.perf_counter() - started)
            assert info["ok"] == [True]
        return seconds

    with ThreadPoolExecutor(len(envs)) as threads:
        return [seconds for found in threads.map(play, envs) for seconds in found]


def latencies_under_attack(command: str, envs: list[NanoCodexEnv]) -> list[float]:
    """The same while one more episode runs a command again and again."""
    over = threading.Event()

    def attack(attacker: NanoCodexEnv) -> None:
        while not over.is_set():
            attacker.step(tool_call("shell", cmd=command))

    with make_env() as attacker, ThreadPoolExecutor(1) as thread:
        attacking = thread.submit(attack, attacker)
        time.sleep(0.2)
        try:
            found = latencies(envs)
        finally:
            over.set()
        attacking.result()
    return found


def main() -> None:
    """Measure without and with each attack."""
    table = Table("attack", "median", "slowest tenth")
    with contextlib.ExitStack() as stack:
        envs = [stack.enter_context(make_env()) for _ in range(7)]
        latencies(envs)  # start the sandboxes
        quiet = latencies(envs)
        base = statistics.median(quiet)
        for name, found in [
            ("none", quiet),
            *((name, latencies_under_attack(cmd, envs)) for name, cmd in ATTACKS.items()),
        ]:
            slow = statistics.quantiles(found, n=10)[-1]
            table.add_row(name, f"{statistics.median(found) / base:.2f}x", f"{slow / base:.2f}x")
    Console().print(f"seven episodes, `ls`: median of {base * 1000:.1f} ms a call (1.00x)", table)


if __name__ == "__main__":
    main()

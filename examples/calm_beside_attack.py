"""Seven calm episodes beside one that attacks: what a call of theirs takes, against the same seven alone.

Prints a table of ratios, each of medians within one run. Processes, memory, disk and output of an
attacker are bounded; what is left to take is processor time, which the kernel shares out.
"""

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


def make() -> NanoCodexEnv:
    """An episode on the first bundled task; its reward does not matter here."""
    tools, reward = [shell(timeout=1.0), apply_patch()], from_function(lambda *_: 0.0)
    env = NanoCodexEnv(load_tasks("bundled")[:1], tools=tools, reward=reward, log_dir=None, max_steps=10_000)
    env.reset()
    return env


def latencies(envs: list[NanoCodexEnv]) -> list[float]:
    """Seconds of each call of each calm episode, all at once."""

    def play(env: NanoCodexEnv) -> list[float]:
        found = []
        for _ in range(CALLS):
            started = time.perf_counter()
            *_, info = env.step(tool_call("shell", cmd="ls"))
            found.append(time.perf_counter() - started)
            assert info["ok"] == [True]
        return found

    with ThreadPoolExecutor(len(envs)) as threads:
        return [seconds for found in threads.map(play, envs) for seconds in found]


def beside(command: str, envs: list[NanoCodexEnv]) -> list[float]:
    """The same while one more episode runs a command again and again."""
    over = threading.Event()

    def attack(attacker: NanoCodexEnv) -> None:
        while not over.is_set():
            attacker.step(tool_call("shell", cmd=command))

    with make() as attacker, ThreadPoolExecutor(1) as thread:
        attacking = thread.submit(attack, attacker)
        time.sleep(0.2)
        try:
            found = latencies(envs)
        finally:
            over.set()
        attacking.result()
    return found


def main() -> None:
    """Measure alone, beside each attack, and alone again."""
    table = Table("beside", "median, of the median alone", "slowest tenth, of the same")
    with contextlib.ExitStack() as stack:
        envs = [stack.enter_context(make()) for _ in range(7)]
        latencies(envs)  # open the boxes
        alone = latencies(envs)
        base = statistics.median(alone)
        for name, found in [("nobody", alone), *((name, beside(text, envs)) for name, text in ATTACKS.items())]:
            slow = statistics.quantiles(found, n=10)[-1]
            table.add_row(name, f"{statistics.median(found) / base:.2f}x", f"{slow / base:.2f}x")
    Console().print(f"seven calm episodes at once, `ls`: {base * 1000:.1f} ms a call (median)", table)


if __name__ == "__main__":
    main()

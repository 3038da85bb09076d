"""`shell(cmd)`: a look around the repository in bash, which can read everything there and change nothing.

The original ran `rbash -c` on the host: its restrictions were its wall, and 59 of 73 escape probes went through it,
while it refused what every model types (`cd sub && ls`, `2>/dev/null`, `./script`). Here the walls are the box's
(see `sandbox.bubblewrap`), so the shell keeps of restricted bash what makes a call predictable and lifts what only
stood in for a wall:

- kept: PATH, SHELL, ENV and BASH_ENV cannot be changed; nothing outlives a call, not even a file in /tmp; each call
  starts fresh at the repository's root; every file is read-only, so `> file` fails as in rbash ("Read-only file
  system" instead of "restricted");
- lifted: `cd`, redirections to /dev/null and /tmp, here-documents, `exec`, commands with a slash. With `set -r`, bash
  refuses all of these in one piece; there is no way to have the one half only.
"""

from __future__ import annotations

from nano_codex_env.errors import ToolError
from nano_codex_env.tools.base import Tool, ToolContext, ToolResult

MAX_COMMAND = 32_000
"""Bytes of the longest command: it fits a pipe's buffer."""

IN_PROMPT = (
    "shell(cmd): run a read-only bash command at the root of the repository. Look around with ls, cat, head, "
    "sed -n, grep -rn, find, git log, git diff, python3. Nothing can be written this way."
)
"""What the default system prompt says of the tool."""


def shell(*, timeout: float = 30.0, max_output: int = 16_000) -> Tool:
    """The shell tool.

    `timeout` is in seconds. Of an output longer than `max_output` bytes, head and tail are kept, half each.
    """
    description = (
        "Run a command in read-only restricted bash at the root of the repository (/testbed) and get its output. "
        "Each call starts fresh there; no file can be changed. "
        f"A command is stopped after {timeout:g} seconds; of an output over {max_output} bytes, "
        "head and tail are shown."
    )

    def run(context: ToolContext, cmd: str) -> ToolResult:
        if not cmd.strip():
            raise ToolError("cmd is empty; give a command, such as `ls`")
        if "\0" in cmd:
            raise ToolError("cmd holds a NUL character, which no command can; leave it out")
        if len(cmd.encode()) > MAX_COMMAND:
            raise ToolError(f"cmd is too long ({len(cmd.encode())} bytes; the limit is {MAX_COMMAND})")
        result = context.execute(cmd, timeout=timeout, keep=max_output // 2)
        text = result.output.text()
        if result.timed_out:
            note = f"[stopped after {timeout:g} seconds]"
        elif result.flooded:
            note = "[stopped: the output was too long; narrow the command down]"
        elif result.exit_code is None:
            note = "[the shell was killed]"
        elif result.exit_code:
            note = f"[exit {result.exit_code}]"
        else:
            return ToolResult(text)
        gap = "\n" if text and not text.endswith("\n") else ""
        return ToolResult(f"{text}{gap}{note}", ok=False)

    parameters = {"cmd": "the command, for example: grep -rn 'def main' src | head"}
    return Tool("shell", description, parameters, run, IN_PROMPT)

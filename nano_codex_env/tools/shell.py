"""`shell(cmd)`: run a read-only bash command in the repository.

The original ran `rbash -c` on the host, where 59 of 73 escape probes succeeded and common commands (`cd sub && ls`,
`2>/dev/null`, `./script`) were refused. Here the sandbox isolates (see `sandbox.bubblewrap`), so of restricted bash the
shell keeps only what makes a call predictable:

- kept: PATH, SHELL, ENV and BASH_ENV cannot be changed; nothing survives a call, not even a file in /tmp; each call
  starts at the repository's root; every file is read-only, so `> file` fails as in rbash ("Read-only file system"
  instead of "restricted");
- allowed: `cd`, redirections to /dev/null and /tmp, here-documents, `exec`, commands with a slash. `set -r` would
  refuse all of these together.
"""

from __future__ import annotations

from nano_codex_env.errors import ToolError, check_positive
from nano_codex_env.tools.base import Tool, ToolContext, ToolResult

MAX_COMMAND = 32_000
"""Bytes; a command must fit a pipe's buffer."""

IN_PROMPT = (
    "shell(cmd): run a read-only bash command at the root of the repository. Look around with ls, cat, head, "
    "sed -n, grep -rn, find, git log, git diff, python3. Nothing can be written this way."
)
"""The tool's line in the default system prompt."""


def shell(*, timeout: float = 30.0, max_output: int = 16_000) -> Tool:
    """The shell tool.

    `timeout` is in seconds; of an output longer than `max_output` bytes, the first and last half of that are kept.

    Raises:
        ConfigError: one of them is no positive number.
    """
    check_positive("timeout", timeout, "number of seconds", fractions=True)
    check_positive("max_output", max_output)
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
        return ToolResult(f"{text}{gap}{note}", ok=result.exit_code == 0)

    parameters = {"cmd": "the command, for example: grep -rn 'def main' src | head"}
    return Tool("shell", description, parameters, run, IN_PROMPT)

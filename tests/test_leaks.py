"""The leak detector of conftest.py sees what it is there for, and nothing of others."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from nano_codex_env.cache import Scratch, cache_dir
from nano_codex_env.sandbox import Sandbox, View
from tests.conftest import leaving_nothing, leavings

USR = View((Path("/usr"),))


def test_a_box_that_is_left_open_is_seen(sandbox: Sandbox) -> None:
    watch = leaving_nothing(patience=0)
    watch.__enter__()
    with closing(sandbox.open(USR)) as box:
        with pytest.raises(AssertionError, match="process "):
            watch.__exit__(None, None, None)
        assert box.run("echo well", timeout=60, keep=100).output.text() == "well\n"


def test_a_box_that_a_process_of_ours_leaves_open_is_seen() -> None:
    code = "from pathlib import Path; from nano_codex_env.sandbox import Bubblewrap, View\n"
    code += "box = Bubblewrap().open(View((Path('/usr'),))); print('up', flush=True); input()"
    watch = leaving_nothing(patience=0)
    watch.__enter__()
    path = str(Path(__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        with pytest.raises(AssertionError, match="process "):
            watch.__exit__(None, None, None)
        process.kill()


def test_a_box_that_is_closed_is_no_leak(sandbox: Sandbox) -> None:
    with leaving_nothing(), closing(sandbox.open(USR)):
        assert [name for name in leavings() if name.startswith("process ")]


def test_a_session_folder_that_is_left_is_seen() -> None:
    watch = leaving_nothing(patience=0)
    watch.__enter__()
    with closing(Scratch(cache_dir())), pytest.raises(AssertionError, match="folder "):
        watch.__exit__(None, None, None)


def test_a_thread_that_goes_on_is_seen() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="goes-on")
    watch = leaving_nothing(patience=0)
    watch.__enter__()
    thread.start()
    with pytest.raises(AssertionError, match="goes-on"):
        watch.__exit__(None, None, None)
    over.set()
    thread.join()

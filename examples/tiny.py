"""A tiny language model for the training examples: two layers of Qwen3 and a byte-level tokenizer, made from scratch.

It trains on a CPU in minutes and needs torch and transformers. Run as a script, it learns one episode of a bundled task
and prints what it answers.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from nano_codex_env import NanoCodexEnv, Task, load_tasks
from nano_codex_env.messages import Message, ToolSchema, tool_call

Example = tuple[list[Message], list[ToolSchema]]

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>"]
SPECIAL += ["</tool_response>", "<think>", "</think>"]
_PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

TEMPLATE = """{%- if tools %}{{ '<|im_start|>tools\\n' + (tools | tojson) + '<|im_end|>\\n' }}{% endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] -%}
{{ '<tool_call>\\n{"name": ' + (call.function.name | tojson) + ', "arguments": ' }}
{{- call.function.arguments if call.function.arguments is string else (call.function.arguments | tojson) -}}
{{ '}\\n</tool_call>' }}
{%- endfor -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}"""
"""A chat template that renders each message independently, so that a longer transcript only appends text."""


def trl_template(name: str) -> str:
    """Read one of the chat templates that TRL ships."""
    spec = importlib.util.find_spec("trl")
    assert spec
    assert spec.origin
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def make_tokenizer(texts: list[str], chat_template: str = TEMPLATE) -> Any:
    """Train a byte-level BPE tokenizer on `texts`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=800, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = chat_template
    return fast


def make_model(tokenizer: Any, *, seed: int = 0, width: int = 64) -> Any:
    """Make a Qwen3 of two layers and about 130,000 random parameters."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def teach(
    model: Any, tokenizer: Any, examples: list[Example], *, steps: int, chat_template: str | None = None
) -> float:
    """Train on whole transcripts, with the loss on the assistant's tokens only; return the last loss."""
    import torch

    rows = [masked(tokenizer, *example, chat_template) for example in examples]
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95))
    learned = sum(label != -100 for _, labels in rows for label in labels)
    total = 0.0
    model.train()
    for step in range(steps):  # all examples in each step; otherwise the last one would become the likeliest
        total = 0.0
        optimiser.param_groups[0]["lr"] = 6e-3 * min(1, (step + 1) / 10, 2 - 2 * step / steps)
        for ids, labels in rows:
            share = sum(label != -100 for label in labels) / learned
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss * share
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return total


def masked(
    tokenizer: Any, messages: list[Message], tools: list[ToolSchema], chat_template: str | None = None
) -> tuple[list[int], list[int]]:
    """The token ids of a transcript, and its labels: -100 except on the assistant's tokens."""
    ids: list[int] = []
    labels: list[int] = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(tokenizer, messages[:number], tools, chat_template, add_generation_prompt=True)
        whole = render(tokenizer, messages[: number + 1], tools, chat_template)
        prompt, answer = tokenizer.encode(before), tokenizer.encode(whole.removeprefix(before).removesuffix("\n"))
        assert whole.startswith(before)
        assert prompt[: len(ids)] == ids
        labels += [-100] * (len(prompt) - len(ids)) + answer
        ids = prompt + answer
    return ids, labels


def render(
    tokenizer: Any, messages: list[Message], tools: list[ToolSchema], chat_template: str | None = None, **more: Any
) -> str:
    """Render a transcript as text."""
    if chat_template:
        more["chat_template"] = chat_template
    text: str = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, enable_thinking=False, **more)
    return text


def easy_task() -> Task:
    """A bundled task whose reference patch changes one line."""
    return next(task for task in load_tasks("bundled") if task.instance_id == "pocket-distance")


def fix_of(task: Task) -> dict[str, str]:
    """The one-line reference patch of a task as arguments of apply_patch."""
    lines = [line for line in task.patch.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    old, new = (next(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return {"search": old, "replace": new, "file": task.patch.split("+++ b/")[1].splitlines()[0]}


def played(task: Task, name: str, arguments: dict[str, str]) -> Example:
    """Play an episode of one tool call and a final message; return its transcript and tools."""
    with NanoCodexEnv([task], log_dir=None) as env:
        _, info = env.reset()
        env.step(tool_call(name, **arguments))
        obs, *_ = env.step({"role": "assistant", "content": "Done."})
    return obs, info["tools"]


def main() -> None:
    """Train on one episode and print the model's answer."""
    import torch

    torch.set_num_threads(1)
    task = easy_task()
    example = played(task, "apply_patch", fix_of(task))
    tokenizer = make_tokenizer([json.dumps(example)])
    model = make_model(tokenizer)
    print("loss", teach(model, tokenizer, [example], steps=60))
    prompt = tokenizer(render(tokenizer, example[0][:2], example[1], add_generation_prompt=True), return_tensors="pt")
    answer = model.generate(**prompt, max_new_tokens=80, do_sample=False)[0][prompt["input_ids"].shape[1] :]
    print(tokenizer.decode(answer))


if __name__ == "__main__":
    main()

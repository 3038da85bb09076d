"""A tiny real model and tokenizer, made offline: two layers of Qwen3, a byte alphabet, TRL's own Qwen3 template."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>"]
SPECIAL += ["</tool_response>", "<think>", "</think>"]
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def template(name: str) -> str:
    """A chat template from TRL's installed files."""
    spec = importlib.util.find_spec("trl")
    assert spec
    assert spec.origin
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def make_tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE that has learned a few merges from `texts`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=800, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False),
    )
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = template("qwen3")  # by which TRL knows the family
    return made


def make_model(tokenizer: Any, *, seed: int = 0, width: int = 64) -> Any:
    """A Qwen3 of two layers, randomly initialised."""
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


def teach(model: Any, tokenizer: Any, examples: list[tuple[list[dict[str, Any]], Any]], *, steps: int) -> float:
    """Train on whole transcripts, the loss on what the assistant says alone; the last loss."""
    import torch

    rows = [masked(tokenizer, messages, tools) for messages, tools in examples]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    said = sum(label != -100 for _, labels in rows for label in labels)
    total = 0.0
    model.train()
    for _ in range(steps):  # all of them in each step: what is last must not be likeliest
        total = 0.0
        for ids, labels in rows:
            share = sum(label != -100 for label in labels) / said
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss * share
            loss.backward()
            total += float(loss.detach())
        optimiser.step()
        optimiser.zero_grad()
    return total


def masked(tokenizer: Any, messages: list[dict[str, Any]], tools: Any) -> tuple[list[int], list[int]]:
    """Ids of a transcript, and labels: -100 on all that the assistant did not say."""
    ids: list[int] = []
    labels: list[int] = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(tokenizer, messages[:number], tools, add_generation_prompt=True)
        whole = render(tokenizer, messages[: number + 1], tools)
        prompt, said = tokenizer.encode(before), tokenizer.encode(whole.removeprefix(before).removesuffix("\n"))
        assert whole.startswith(before)
        assert prompt[: len(ids)] == ids
        labels += [-100] * (len(prompt) - len(ids)) + said
        ids = prompt + said
    return ids, labels


def render(tokenizer: Any, messages: list[dict[str, Any]], tools: Any, **more: Any) -> str:
    """The text of a transcript, by the variant of the template that TRL trains with: it rewrites nothing."""
    more |= {"chat_template": template("qwen3_training"), "enable_thinking": False}
    text: str = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, **more)
    return text

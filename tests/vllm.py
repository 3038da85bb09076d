"""A thin server that speaks vLLM's dialect of token ids over a tiny real Qwen3; it needs torch and transformers.

The model is random and samples for real, but where a turn has a script it may sample nothing else, as guided decoding
does it. Ids and logprobs are the model's own; messages are parsed from what it sampled, as by vLLM's parsers
for Qwen3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.server import Answer, Raw, turn_of

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_THOUGHT = re.compile(r"\A<think>(.*?)</think>", re.DOTALL)
_CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)


def make_tokenizer(chat_template: str) -> Any:
    """A byte-level BPE of a few merges, as Qwen's splits text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    made.train_from_iterator([chat_template, '<tool_call>\n{"name": "shell", "arguments": {"cmd": "ls"}}'] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = chat_template
    return tokenizer


class TinyVllm:
    """Answers requests; a `Script` for `tests.server.serve`."""

    def __init__(self, chat_template: str, turns: Sequence[str], *, seed: int = 0) -> None:
        """`turns`: what the model is held to, by turn; after the last it samples freely."""
        import torch
        from transformers import Qwen3Config, Qwen3ForCausalLM

        torch.manual_seed(seed)
        self.tokenizer = make_tokenizer(chat_template)
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
        config = Qwen3Config(vocab_size=len(self.tokenizer), max_position_embeddings=8192, **sizes, **heads)
        self.model = Qwen3ForCausalLM(config).eval()
        self.seen: list[tuple[list[int], list[int]]] = []
        """(prompt, sampled) of every turn: what the model really read and wrote."""
        self._turns = list(turns)

    def __call__(self, request: dict[str, Any], number: int) -> Answer:
        messages = [_parsed(message) for message in request["messages"]]
        encoded = self.tokenizer.apply_chat_template(messages, tools=request["tools"], add_generation_prompt=True)
        prompt = list(encoded["input_ids"])
        if len(prompt) > 8000:
            return Raw(400, b'{"error": {"message": "maximum context length"}}')
        turn = turn_of(request)
        held = self.tokenizer.encode(f"{self._turns[turn]}<|im_end|>") if turn < len(self._turns) else None
        sampled, logprobs = self._sample(prompt, held, request.get("max_tokens") or 16)
        self.seen.append((prompt, sampled))
        stopped = sampled[-1] == self.tokenizer.eos_token_id
        return self._answer(request, prompt, sampled, logprobs, "stop" if stopped else "length")

    def _sample(self, prompt: list[int], held: list[int] | None, most: int) -> tuple[list[int], list[float]]:
        import torch

        ids, logprobs = list(prompt), list[float]()
        with torch.inference_mode():
            while len(logprobs) < (len(held) if held else most):
                scores = self.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
                token = held[len(logprobs)] if held else int(torch.multinomial(scores.exp(), 1))
                logprobs.append(float(scores[token]))
                ids.append(token)
                if token == self.tokenizer.eos_token_id:
                    break
        return ids[len(prompt) :], logprobs

    def _answer(
        self, request: Mapping[str, Any], prompt: list[int], sampled: list[int], logprobs: list[float], reason: str
    ) -> dict[str, Any]:
        text = self.tokenizer.decode(sampled, skip_special_tokens=True)
        calls = [_call(raw, len(prompt) + n) for n, raw in enumerate(_CALL.findall(text))]
        thought = _THOUGHT.match(text)
        content = _CALL.sub("", _THOUGHT.sub("", text)).strip() or None
        message = {"role": "assistant", "content": content, "tool_calls": calls}
        message["reasoning_content"] = thought[1].strip() or None if thought else None
        choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None}
        choice["finish_reason"] = "tool_calls" if calls and reason == "stop" else reason
        total = len(prompt) + len(sampled)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(sampled), "total_tokens": total}
        body: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "model": "tiny", "usage": usage}
        if request.get("logprobs"):
            pieces = [self.tokenizer.decode([token]) for token in sampled]
            rows = [{"token": piece, "logprob": each} for piece, each in zip(pieces, logprobs, strict=True)]
            choice["logprobs"] = {"content": [{**row, "bytes": None, "top_logprobs": []} for row in rows]}
        if request.get("return_token_ids"):
            choice["token_ids"], body["prompt_token_ids"] = sampled, prompt
        return body | {"choices": [choice]}


def _call(raw: str, number: int) -> dict[str, Any]:
    """A call as the parser makes it: the arguments are written anew."""
    made = json.loads(raw)
    function = {"name": made["name"], "arguments": json.dumps(made["arguments"], ensure_ascii=False)}
    return {"id": f"chatcmpl-tool-{number:032x}", "type": "function", "function": function}


def _parsed(message: dict[str, Any]) -> dict[str, Any]:
    """As vLLM gives messages to a template: null is an empty text, arguments are objects."""
    calls = [
        {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in message.get("tool_calls") or []
    ]
    return {**message, "content": message.get("content") or "", **({"tool_calls": calls} if calls else {})}

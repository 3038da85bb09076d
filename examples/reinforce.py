"""REINFORCE on a vector of environments in plain torch, without a training library.

It needs torch and transformers, a CPU and a minute or two. The tiny model of `tiny.py` is first taught to call tools,
and then learns which call earns a reward.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import torch
from tiny import easy_task, fix_of, make_model, make_tokenizer, played, render, teach

import nano_codex_env
from nano_codex_env.messages import Message, ToolSchema, tool_call

GROUP = 8
STEPS = 14
MAX_NEW_TOKENS = 120
CALL = re.compile(r"<tool_call>\n(.*)\n</tool_call>", re.DOTALL)


def parse(text: str) -> Message:
    """Parse the model's text into a message; malformed arguments are passed on unchanged."""
    if not (found := CALL.search(text)):
        return {"role": "assistant", "content": text}
    name, _, raw = found[1].removeprefix('{"name": "').partition('", "arguments": ')
    call = {"type": "function", "function": {"name": name, "arguments": raw.removesuffix("}")}}
    return {"role": "assistant", "content": text[: found.start()], "tool_calls": [call]}


class Sampler:
    """Samples messages from the model and records the tokens to train on."""

    def __init__(self, model: Any, tokenizer: Any, tools: list[ToolSchema]) -> None:
        self.model, self.tokenizer, self.tools = model, tokenizer, tools
        self.turns: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        """(environment, prompt ids [P], sampled ids [S])"""

    def sample(self, number: int, messages: list[Message]) -> Message:
        """Sample the next message of environment `number`."""
        text = render(self.tokenizer, messages, self.tools, add_generation_prompt=True)
        prompt = torch.tensor([self.tokenizer.encode(text)])
        whole = self.model.generate(prompt, max_new_tokens=MAX_NEW_TOKENS, do_sample=True, temperature=1.0, top_k=0)[0]
        sampled = whole[prompt.shape[1] :]
        self.turns.append((number, prompt[0], sampled))
        return parse(self.tokenizer.decode(sampled, skip_special_tokens=False).split("<|im_end|>")[0])


def collect(envs: Any, sampler: Sampler) -> np.ndarray[Any, Any]:
    """Play one episode in each environment; return the rewards, shape (GROUP,)."""
    observations, _ = envs.reset()
    rewards, over = np.zeros(GROUP), np.zeros(GROUP, dtype=bool)
    while not over.all():
        no_op = tool_call("shell", cmd="true")  # Gymnasium has already started the next episode of those that are over
        actions = [no_op if over[n] else sampler.sample(n, list(observations[n])) for n in range(GROUP)]
        observations, reward, terminated, truncated, _ = envs.step(actions)
        rewards += np.where(over, 0.0, reward)
        over |= terminated | truncated
    return rewards


def train(sampler: Sampler, optimiser: torch.optim.Optimizer, rewards: np.ndarray[Any, Any]) -> float:
    """Take one step along the gradient of reward * log p(sampled tokens); return the loss.

    There is no baseline: in a model this small, lowering the probability of failures only damages its syntax.
    """
    total = 0.0
    for number, prompt, sampled in sampler.turns:
        ids = torch.cat([prompt, sampled])[None]  # [1, P + S]
        logits = sampler.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]  # [S, V]: each predicts the next
        chosen = torch.log_softmax(logits, dim=-1).gather(1, sampled[:, None])[:, 0]  # [S]
        loss = -float(rewards[number]) * chosen.mean() / GROUP
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(sampler.model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return total


def main() -> list[float]:
    """Train, and return the mean reward of each step."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    task = easy_task()
    calls = [("apply_patch", fix_of(task)), ("shell", {"cmd": "ls"}), ("shell", {"cmd": "cat README.md"})]
    examples = [played(task, name, arguments) for name, arguments in calls]
    tokenizer = make_tokenizer([json.dumps(examples)])
    model = make_model(tokenizer)
    print("pretrained to call tools, loss", round(teach(model, tokenizer, examples, steps=100), 3))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    envs = nano_codex_env.make_vec(GROUP, tasks=[task], max_steps=8, log_dir=None)
    means = []
    for step in range(STEPS):
        sampler = Sampler(model, tokenizer, examples[0][1])
        rewards = collect(envs, sampler)
        loss = train(sampler, optimiser, rewards)
        means.append(float(rewards.mean()))
        print(f"step {step:2}  mean reward {means[-1]:.3f}  loss {loss:+.3f}", flush=True)
    envs.close()
    return means


if __name__ == "__main__":
    main()

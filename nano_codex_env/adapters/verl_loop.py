"""The agent loop that verl runs: verl keeps the tokens, our environment answers the calls and scores the episode.

Sampling and token bookkeeping are those of verl's `ToolAgentLoop`. Its tool handling is not used: it runs one call at a
time (`max_parallel_calls`), cuts answers to 256 characters (`max_tool_response_length`), and ends the episode at a call
that its parser cannot read, which the environment answers instead.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState, ToolAgentLoop
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import OpenAIFunctionToolSchema

from nano_codex_env.adapters.verl_calls import as_call, as_message
from nano_codex_env.adapters.verl_reward import PARTS, checked_parts, shared_reward, task_of
from nano_codex_env.config import NOTICES
from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import ConfigError, NanoCodexError, PolicyError, TaskError, close_all, describe
from nano_codex_env.messages import Message
from nano_codex_env.parallel import processors
from nano_codex_env.policies.completion import BROKEN_OFF
from nano_codex_env.tools import default_tools
from nano_codex_env.untrusted import for_terminal

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_SAMPLE_KEYS = ("uid", "session_id", "global_steps")
"""A sample's group, its number in the group, and the training step, which verl's trainer passes and the log keeps."""


class _CheckedClient:
    """verl's client of its inference servers, which raises if a server broke an answer off.

    verl passes on the partial answer of an aborted request, and its loop would treat it as complete.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    async def generate(self, *args: Any, **more: Any) -> Any:
        """See verl's `LLMServerClient`.

        Raises:
            PolicyError: the server broke the answer off.
        """
        output = await self._client.generate(*args, **more)
        reason = str(output.stop_reason or "").lower()
        if reason in BROKEN_OFF or (not output.token_ids and reason != "length"):  # SGLang's if the context is full
            raise PolicyError(f"the server broke an answer off after {len(output.token_ids)} tokens ({reason})")
        return output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class NanoCodexAgentLoop(ToolAgentLoop):  # type: ignore[misc]
    """One sample of verl: an episode in a thread of its own, so that the event loop never waits for a sandbox.

    If we or the inference server fail, the sample is void; it gets no invented reward:

    - verl's trainer (`trainer.use_v1`, the default) leaves out a sample whose loop raises and keeps the rest of its
      group, so the failure is raised. The same holds in its validation, whose means are then of fewer samples.
    - The older trainer (`trainer.use_v1=False`), its validation, and other callers of `generate_sequences` of verl's
      workers (its fully asynchronous and one-step-off trainers, your own script) lose the whole batch to an exception
      and cannot leave out a sample. They are refused before the first episode, unless `allow_zero_for_void` is true:
      a void sample is then one masked token with reward 0.0, which lowers the mean of its group, and 1.0 in the column
      `void`.

    Only the trainer's worker gives each sample, in validation too, the `session_id` by which the two are distinguished.
    """

    def __init__(
        self,
        *args: Any,
        reward: str = "resolved",
        sandbox: str = "bubblewrap",
        max_steps: int = 50,
        time_limit: float | None = 1800.0,
        notices: Sequence[str] = (),
        on_inaction: str = "submit",
        system_prompt: str | None = None,
        log: str | None = "folder",
        log_dir: str | None = None,
        cache_dir: str | None = None,
        workers: int | None = None,
        parts: Sequence[str] = PARTS,
        allow_zero_for_void: bool = False,
        **verl: Any,
    ) -> None:
        """Take the values of the agent loop's YAML; those not listed are arguments of `NanoCodexEnv`, or verl's.

        - `reward`: "resolved", "similarity", or `module:name` of your own.
        - `notices`: names of `config.NOTICES`, such as "budget".
        - `system_prompt`: the first message, verbatim, instead of the row's `prompt`; None: one that lists the tools.
        - `log_dir`: where episodes are logged, token ids included; None: nowhere.
        - `workers`: how many episodes each of verl's workers scores at once; None: its share of the processors.
        - `parts`: the numbers of a score's parts that become columns; verl wants the same ones of every sample.
        - `allow_zero_for_void`: count 0.0 for a void sample if it cannot be left out; see the class.

        Raises:
            ConfigError: an argument cannot be used, verl's own turn limits are set, or its older trainer is used.
        """
        super().__init__(*args, **verl)
        if not isinstance(allow_zero_for_void, bool):  # "false" in quotes would be true
            raise ConfigError(f"allow_zero_for_void must be true or false; got {allow_zero_for_void!r}")
        self._allow_zero = allow_zero_for_void
        if not self.config.get("trainer", {}).get("use_v1", True):
            self._refuse_zero("trainer.use_v1=False")
        if self.max_user_turns or self.max_assistant_turns:
            raise ConfigError("leave multi_turn.max_user_turns and max_assistant_turns null; max_steps is the limit")
        if unknown := [name for name in notices if name not in NOTICES]:
            raise ConfigError(f"no notice is called {unknown[0]!r}; there are: {', '.join(NOTICES)}")
        self.server_manager: Any = _CheckedClient(self.server_manager)
        workers = max(1, processors() // self.rollout_config.agent.num_workers) if workers is None else workers
        tools = default_tools()
        self.tool_schemas = [tool.schema for tool in tools]  # the prompt is rendered from the schemas that are logged
        schemas = {tool.name: OpenAIFunctionToolSchema.model_validate(tool.schema) for tool in tools}
        self.tools = {name: FunctionTool(name, str, schema) for name, schema in schemas.items()}  # read, never called
        self._parts = checked_parts(parts, verl)
        self._env = NanoCodexEnv(
            [],
            shared_reward(reward, sandbox, cache_dir, workers),
            sandbox=sandbox,
            max_steps=max_steps,
            time_limit=time_limit,
            notices=[NOTICES[name] for name in notices],
            on_inaction=on_inaction,
            system_prompt=system_prompt,
            log=log,
            log_dir=log_dir,
            cache_dir=cache_dir,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nano-codex-verl")
        self._reward: float | None = None
        self._metrics: Mapping[str, float] = {}

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Play one episode on the task of a dataset's row.

        Raises:
            NanoCodexError: the sample is void, and verl's trainer called.
            ConfigError: another caller, which would count a void sample as 0.0.
        """
        if "session_id" not in row:
            self._refuse_zero("a caller other than verl's trainer")
        void = ""
        try:
            prompt = await self._in_thread(self._reset, row)
            output = await super().run(sampling_params, **{**row, "raw_prompt": prompt})
            if self._reward is None:
                started = time.monotonic()
                _, self._reward, _, _, info = await self._in_thread(self._env.end, "token_limit")
                self._metrics = info["metrics"]
                output.metrics.compute_score += time.monotonic() - started
        except NanoCodexError as error:
            void = describe(error)
            logger.warning("a sample is void: %s", for_terminal(void))
            if "session_id" in row:  # verl's trainer can leave out one session of a group
                raise
            return self._void()
        finally:
            self._thread.submit(self._close, void)
            self._thread.shutdown(wait=False)
        output.reward_score = self._reward
        output.extra_fields["reward_extra_info"] = self._columns(0.0)
        return output

    def _refuse_zero(self, caller: str) -> None:
        if not self._allow_zero:
            raise ConfigError(
                f"{caller} cannot leave out a sample that our failure made void, and would train on 0.0 for it: use "
                "verl's trainer (trainer.use_v1=true), or say allow_zero_for_void: true in the agent loop's YAML"
            )

    def _close(self, void: str) -> None:
        """Close the episode, after whatever still runs in its thread; `void` is recorded in its log."""
        try:
            close_all(*([lambda: self._env.void(void)] if void else []), self._env.close)
        except Exception:
            logger.exception("an episode was not freed")

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call `function` in the episode's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _reset(self, row: Mapping[str, Any]) -> list[Message]:
        observation, _ = self._env.reset(options={"task": task_of(row.get("extra_info"))})
        if log := self._env.episode.log:
            sample = {name: row[name] for name in _SAMPLE_KEYS if isinstance(row.get(name), int | str)}
            log.note({"policy": {"name": "verl", **sample}})
        return observation

    def _cap_text_prompt_length(self, prompt_ids: list[int]) -> list[int]:
        """Refuse a long prompt: verl would cut off its beginning, and with it the tools."""
        limit = self.rollout_config.prompt_length
        if len(prompt_ids) > limit:
            raise TaskError(f"a prompt has {len(prompt_ids)} tokens; data.max_prompt_length is {limit}: raise it")
        return prompt_ids

    async def _handle_generating_state(self, agent_data: AgentData, *arguments: Any, **more: Any) -> AgentState:
        """Sample an answer; unless it is too long, only the environment ends the episode."""
        prompt = agent_data.prompt_ids
        await super()._handle_generating_state(agent_data, *arguments, **more)
        sampled = agent_data.response_ids
        every = agent_data.response_logprobs
        logprobs = every[len(every) - len(sampled) :] if every else None
        record = {"prompt": prompt, "sampled": sampled, "logprobs": logprobs}
        await self._in_thread(self._log_tokens, record, agent_data.assistant_turns)
        too_long = not sampled or len(agent_data.response_mask) >= self.response_length
        return AgentState.TERMINATED if too_long else AgentState.PROCESSING_TOOLS

    def _log_tokens(self, record: Mapping[str, Any], turn: int) -> None:
        self._env.report_tokens(len(record["prompt"]) + len(record["sampled"]))
        if log := self._env.episode.log:
            log.tokens(record, turn)

    async def _handle_processing_tools_state(self, agent_data: AgentData) -> AgentState:
        """Step the environment with the last message, and append its answers to the prompt."""
        started, count = time.monotonic(), len(agent_data.messages)
        message = agent_data.messages[-1]
        observation, reward, terminated, truncated, info = await self._in_thread(self._env.step, message)
        over = terminated or truncated
        spent = "compute_score" if over else "tool_calls"
        agent_data.metrics[spent] = agent_data.metrics.get(spent, 0.0) + time.monotonic() - started
        agent_data.messages = list(observation)
        if over:
            self._reward, self._metrics = reward, info["metrics"]
            return AgentState.TERMINATED
        merged, mask, logprobs = await self.ct_merge_context_msg(
            observation[:count],
            observation,
            agent_data.prompt_ids,
            agent_data.response_mask,
            agent_data.response_logprobs or None,
            tools=self.tool_schemas,
        )
        if len(mask) >= self.response_length:
            return AgentState.TERMINATED
        agent_data.prompt_ids, agent_data.response_mask = merged.token_ids, mask
        agent_data.response_logprobs = logprobs or []
        agent_data.user_turns += 1
        return AgentState.GENERATING

    def _build_assistant_message(self, content: str, agent_data: AgentData) -> Message:
        """The message for the environment, with the calls that verl's parser dropped."""
        calls = [as_call(call.name, call.arguments, call.tool_call_id) for call in agent_data.tool_calls]
        text = self.tokenizer.decode(agent_data.response_ids)
        return as_message(text, content, calls, self.tool_parser_name, self.tokenizer.all_special_tokens)

    def _columns(self, void: float) -> dict[str, float | None]:
        """The episode's metrics as extra columns, the same in every sample; None: unknown. The reward is verl's own."""
        tools = [*self.tools, "unknown"]
        names = ["steps", "tokens", *(f"{tool}.{what}" for tool in tools for what in ("calls", "ok"))]
        names += [f"parts.{name}" for name in self._parts]
        found = self._metrics if void else {**{f"{tool}.calls": 0.0 for tool in tools}, **self._metrics}
        return {"void": void, **{name: found.get(name) for name in names}}

    def _void(self) -> AgentLoopOutput:
        """A void sample: one token, masked from the loss."""
        token = self.tokenizer.eos_token_id
        fields = {"turn_scores": [], "tool_rewards": [], "reward_extra_info": self._columns(1.0)}
        return AgentLoopOutput(
            prompt_ids=[token],
            response_ids=[token],
            response_mask=[0],
            response_logprobs=[0.0] if self.rollout_config.calculate_log_probs else None,
            reward_score=0.0,
            metrics={},
            extra_fields=fields,
        )

"""Who takes part in `local_engine.py`: our engine through its backend protocol, llama-cpp-python, outlines.

Each has a context of its own on the same model file, with the same number of threads (AGENTFLEET_THREADS, else one for
each physical core), and answers greedily. What a side gives back is validated by the caller.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp import LlamaCpp
from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.cache import Cache
from agentfleet.backends.llama_cpp.cores import physical_cores
from agentfleet.backends.llama_cpp.decode import Sampling, Writer, decode
from agentfleet.backends.llama_cpp.native import Context
from agentfleet.prompt import Prompt
from agentfleet.schema import Output, output_of

CONTEXT = 2048
THREADS = int(os.environ.get("AGENTFLEET_THREADS") or physical_cores())
"""Of every side."""
LIMIT = 160
"""Tokens of an answer at most."""


def request_of(prompt: Prompt, annotation: Any, *, closed: bool = False, limit: int = LIMIT) -> Request:
    return Request(prompt, output_of(annotation, where="benchmark", closed=closed), "benchmark", max_tokens=limit)


@dataclass(frozen=True)
class Took:
    """One answer of one side, and its wall time in seconds."""

    text: str
    seconds: float
    tokens: int = 0


class Ours:
    """The engine as the dispatcher calls it: the event loop, the queue and the owner thread are part of the time."""

    def __init__(self, path: Path) -> None:
        self.engine = LlamaCpp(path, "ours", context=CONTEXT, threads=THREADS)
        self.loop = asyncio.new_event_loop()

    def tokens(self, prompt: Prompt) -> list[int]:
        return list(self.engine.prompt_tokens(prompt.messages()))

    def answer(self, request: Request) -> Took:
        began = time.perf_counter()
        done: Completion = self.loop.run_until_complete(self.engine.complete(request))
        return Took(done.text, time.perf_counter() - began, done.usage.output_tokens)

    def together(self, requests: Sequence[Request]) -> float:
        """Seconds until all of them, asked at once, are answered."""

        async def all_at_once() -> None:
            await asyncio.gather(*map(self.engine.complete, requests))

        began = time.perf_counter()
        self.loop.run_until_complete(all_at_once())
        return time.perf_counter() - began

    def overhead(self, prompt: Prompt, output: Output) -> float:
        """Processor time of one decode outside of llama_decode, grammar included, in microseconds a sampled token."""

        def work(model: Answerer, tokens: list[int], cancelled: Callable[[], bool]) -> float:
            writer = Writer(model.grammars.of_schema(output.schema), LIMIT, Sampling())
            clock = _Clock(model.context)
            began = time.thread_time()
            written = decode(model.cache, tokens, writer, cancelled)
            taken = time.thread_time() - began
            clock.stop()
            return (taken - clock.seconds) / max(1, written.sampled) * 1e6

        return float(self.engine.call(prompt.messages(), LIMIT, work))

    def close(self) -> None:
        self.engine.shut()
        self.loop.close()


class _Clock:
    """Stands in for a context's library for a while, and times its llama_decode."""

    def __init__(self, context: Context) -> None:
        self.context, self.lib, self.seconds = context, context.lib, 0.0
        context.lib = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lib, name)

    def llama_decode(self, context: Any, batch: Any) -> int:
        began = time.thread_time()
        code: int = self.lib.llama_decode(context, batch)
        self.seconds += time.thread_time() - began
        return code

    def stop(self) -> None:
        self.context.lib = self.lib


class Floor:
    """One bare evaluation of what is new in a prompt, in a context of its own: no answer can cost less."""

    def __init__(self, ours: Ours) -> None:
        self.context = Context(ours.engine.weights, CONTEXT, THREADS)
        self.cache = Cache(self.context)

    def read(self, tokens: Sequence[int]) -> Took:
        began = time.perf_counter()
        kept = self.cache.keep(tokens)
        self.cache.feed(tokens[kept:], lambda: False)
        return Took("", time.perf_counter() - began)

    def close(self) -> None:
        self.context.free()


def _llama(path: Path) -> Any:
    from llama_cpp import Llama

    return Llama(str(path), n_ctx=CONTEXT, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)


class Plain:
    """llama-cpp-python without any constraint; end tokens are forbidden, so that it writes as many as it is told."""

    def __init__(self, path: Path, ends: Sequence[int]) -> None:
        self.llama = _llama(path)
        self.never = dict.fromkeys(map(str, ends), -1e9)

    def write(self, tokens: Sequence[int], count: int) -> Took:
        began = time.perf_counter()
        done = self.llama.create_completion(
            list(tokens), max_tokens=count, temperature=0.0, logit_bias={int(k): v for k, v in self.never.items()}
        )
        taken = time.perf_counter() - began
        assert done["usage"]["completion_tokens"] == count, done["usage"]
        return Took(done["choices"][0]["text"], taken, count)


class Gbnf:
    """llama-cpp-python with its own grammars, made once."""

    def __init__(self, path: Path) -> None:
        self.llama = _llama(path)

    def grammar(self, model: type[BaseModel]) -> Any:
        from llama_cpp import LlamaGrammar

        return LlamaGrammar.from_json_schema(json.dumps(model.model_json_schema()), verbose=False)

    def write(self, tokens: Sequence[int], grammar: Any) -> Took:
        began = time.perf_counter()
        done = self.llama.create_completion(list(tokens), max_tokens=LIMIT, temperature=0.0, grammar=grammar)
        taken = time.perf_counter() - began
        return Took(done["choices"][0]["text"], taken, done["usage"]["completion_tokens"])


class Outlines:
    """outlines with its default backend, the generator made once and warm; it needs numba."""

    def __init__(self, path: Path) -> None:
        import numba  # noqa: F401 -- without it the default backend silently decodes without its constraint
        import outlines

        self.outlines = outlines
        self.model = outlines.from_llamacpp(_llama(path))

    def generator(self, kind: Any) -> Any:
        return self.outlines.Generator(self.model, kind)

    def write(self, prompt: Prompt, generator: Any) -> Took:
        chat = self.outlines.inputs.Chat([{"role": turn.role, "content": turn.content} for turn in prompt.messages()])
        began = time.perf_counter()
        text = generator(chat, max_tokens=LIMIT, temperature=0.0)
        return Took(text, time.perf_counter() - began)


def requantized(source: Path, target: Path) -> Path:
    """The model in Q8_0, which llama.cpp evaluates in batches at half the price of Q4_1."""
    import llama_cpp

    how = llama_cpp.llama_model_quantize_default_params()
    how.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    how.allow_requantize = True
    how.nthread = THREADS
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(how))
    if code != 0:
        raise RuntimeError(f"llama_model_quantize: {code}")
    return target


def head_ms(repeats: int) -> float:
    """Median milliseconds of a decision by the head of the stock skill `intent`, on the mails of the sample inbox."""
    from agentfleet.stock.skills.intent.skill import intent

    from agentfleet.routing.heads import open_head

    head = open_head(intent, None)
    inbox = Path(__file__).parents[1] / "examples" / "inbox.jsonl"
    texts = [json.loads(line)["email"] for line in inbox.read_text().splitlines()]
    taken = []
    for text in texts[:20] + texts * repeats:  # the first twenty warm up
        began = time.perf_counter()
        head.distribution(text)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[20:]) * 1e3

"""The only file that calls transformers and torch: loading, tokens, decoding a batch, scoring options.

Plain values in and out. Everything but tokenizing belongs to the model's owner thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from agentfleet.backends.llama_cpp.cores import physical_cores
from agentfleet.backends.options import END
from agentfleet.errors import MissingExtra, ModelFileError


@dataclass(frozen=True, slots=True)
class Written:
    """Tokens of one answer, and whether the model ended it itself."""

    tokens: list[int]
    ended: bool


@dataclass(frozen=True, slots=True)
class How:
    """How tokens are chosen: greedy at temperature 0. `seed` is for the whole batch."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


def library(name: str) -> Any:
    """A module of the extra `transformers`. Raises MissingExtra when it cannot be imported."""
    try:
        return import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtra(
            f"the backend transformers needs {name.partition('.')[0]}, which cannot be imported ({error})."
            " Run: pip install 'agentfleet[transformers]'"
        ) from error


class Weights:
    """A loaded model and its tokenizer. `place`: a folder, a name in the hub's cache, or a GGUF file.

    `device`: default cuda where there is one, else cpu. `dtype`: default float32 on a CPU, bfloat16 on a GPU.
    `threads` on a CPU: default one for each physical core.
    Nothing is downloaded here and no code of the model's folder is run. Raises MissingExtra, ModelFileError.
    """

    def __init__(
        self, place: str, device: str | None = None, dtype: str | None = None, threads: int | None = None
    ) -> None:
        self.torch = library("torch")
        self.torch.set_num_threads(threads or physical_cores())
        self.device = device or ("cuda" if self.torch.cuda.is_available() else "cpu")
        self.tokenizer, self.model = self._load(place, dtype or ("float32" if self.device == "cpu" else "bfloat16"))
        self.size = int(self.model.get_output_embeddings().weight.shape[0])
        self.context = int(getattr(self.model.config, "max_position_embeddings", 0)) or None
        self.template = str(self.tokenizer.chat_template or "")
        self.bos, self.eos = str(self.tokenizer.bos_token or ""), str(self.tokenizer.eos_token or "")
        self.adds_bos = bool(getattr(self.tokenizer, "add_bos_token", False)) and bool(self.bos)
        self.ends = _ends(self.model, self.tokenizer)

    def _load(self, place: str, dtype: str) -> tuple[Any, Any]:
        transformers = library("transformers")
        transformers.utils.logging.disable_progress_bar()
        given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        path = Path(place).expanduser()
        if path.suffix == ".gguf":
            library("gguf")
            place, given["gguf_file"] = str(path.parent), path.name
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **given)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                place, dtype=getattr(self.torch, dtype), use_safetensors=True, **given
            )
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
            raise ModelFileError(
                f"transformers cannot load {path if path.exists() else place!r}: {str(error).splitlines()[0]} "
                "Give a folder with config.json and *.safetensors, a GGUF file, or a model in the hub's local cache"
            ) from error
        return tokenizer, model.to(self.device).eval()

    def tokens(self, text: str, *, special: bool, start: bool = False) -> list[int]:
        """Tokens of a text. `special`: names of control tokens in it become them; never for a user's text."""
        clean = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        found = self.tokenizer.encode(clean, add_special_tokens=False, split_special_tokens=not special)
        return [self.tokenizer.bos_token_id, *found] if start else list(found)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer, without the token that ends it."""
        kept = [token for token in tokens if token not in self.ends]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        limit: int,
        how: How,
        processor: Any = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[Written]:
        """Answers to several prompts, decoded together; a prompt that is shorter is filled up on its left."""
        torch = self.torch
        width = max(map(len, prompts))
        fill = self.ends[0]
        ids = torch.tensor([[fill] * (width - len(p)) + list(p) for p in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self.device)
        with torch.inference_mode():
            found = self.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=limit, eos_token_id=self.ends, pad_token_id=fill,
                logits_processor=[] if processor is None else [processor],
                stopping_criteria=[lambda *_, **__: torch.full((len(prompts),), cancelled(), device=self.device)],
                **self._sampling(how),
            )  # fmt: skip
        return [self._written(row) for row in found[:, width:].tolist()]

    def _sampling(self, how: How) -> dict[str, Any]:
        if how.seed is not None:
            self.torch.manual_seed(how.seed)
        if not how.temperature:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p, "top_k": how.top_k or None}

    def _written(self, row: list[int]) -> Written:
        for index, token in enumerate(row):
            if token in self.ends:
                return Written(row[:index], True)
        return Written(row, False)

    def score(self, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> list[float]:
        """Sum of log probabilities of each option's tokens after the prompt; the prompt is read once."""
        torch = self.torch
        with torch.inference_mode():
            read = self.model(torch.tensor([list(prompt)], device=self.device), use_cache=True, logits_to_keep=1)
            first = read.logits[0, -1].float().log_softmax(-1)
            sums = [self._log(first, option[0]) for option in options]
            longer = [index for index, option in enumerate(options) if len(option) > 1]
            if longer:
                rest = self._continued(read.cache, len(prompt), [options[index] for index in longer])
                for index, more in zip(longer, rest, strict=True):
                    sums[index] += more
        return sums

    def _continued(self, cache: Any, length: int, options: Sequence[Sequence[int]]) -> list[float]:
        torch = self.torch
        cache.batch_repeat_interleave(len(options))
        width = max(map(len, options)) - 1
        rows = [list(option[:-1]) + [self.ends[0]] * (width - len(option) + 1) for option in options]
        seen = torch.ones((len(options), length + width), dtype=torch.long, device=self.device)
        out = self.model(torch.tensor(rows, device=self.device), attention_mask=seen, cache=cache)
        logs = out.logits.float().log_softmax(-1)
        return [
            sum(self._log(logs[row, at], token) for at, token in enumerate(option[1:]))
            for row, option in enumerate(options)
        ]

    def _log(self, logs: Any, token: int) -> float:
        found = logs[self.ends].logsumexp(-1) if token == END else logs[token]
        return float(found)


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer; the first one is also used to fill up."""
    named = model.generation_config.eos_token_id
    found = list(named) if isinstance(named, (list, tuple)) else [named]
    return list(dict.fromkeys(token for token in (*found, tokenizer.eos_token_id) if token is not None)) or [0]

"""The only file that calls llama.cpp: loading, tokens, one evaluation, the cache. Plain values in and out.

Much of what llama.cpp refuses it refuses by abort(), so sizes are checked here before each call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agentfleet.errors import BackendError, MissingExtra, ModelFileError

BATCH: Final = 512
"""Most tokens in one evaluation."""
SEQUENCES: Final = 64
"""Sequences that may share the cache: the prompt and 63 continuations."""

Logits = NDArray[np.float32]
State = NDArray[np.uint8]
"""A saved sequence, as llama.cpp writes it."""

_silenced: list[Any] = []


def library(name: str = "llama_cpp") -> Any:
    """A module of the extra `local`. Raises MissingExtra when it cannot be imported."""
    try:
        found = import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtra(
            f"local models need {name.partition('.')[0]}, which cannot be imported ({error})."
            " Run: pip install 'agentfleet[local]'"
        ) from error
    if name == "llama_cpp" and not _silenced:
        _silence(found)
    return found


def _silence(lib: Any) -> None:
    """llama.cpp writes its log to stderr, also from inside a user's progress bar. Set once, for the process."""
    callback = lib.llama_log_callback(lambda level, text, data: None)
    _silenced.append(callback)  # the library keeps the pointer
    lib.llama_log_set(callback, None)
    lib.llama_backend_init()


class Weights:
    """A loaded model file and its vocabulary. Tokenizing is safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.lib = library()
        self.pointer = self.lib.llama_model_load_from_file(str(path).encode(), self.lib.llama_model_default_params())
        if not self.pointer:
            raise ModelFileError(
                f"llama.cpp cannot load {path}: damaged, or an architecture that this llama-cpp-python does not know."
                " Try a newer llama-cpp-python, or fetch the file again"
            )
        self.vocab = self.lib.llama_model_get_vocab(self.pointer)
        self.size = int(self.lib.llama_vocab_n_tokens(self.vocab))
        self.ends = [t for t in range(self.size) if self.lib.llama_vocab_is_eog(self.vocab, t)]
        self.adds_bos = bool(self.lib.llama_vocab_get_add_bos(self.vocab))
        self.bos = self._text(self.lib.llama_vocab_bos(self.vocab))
        self.eos = self._text(self.lib.llama_vocab_eos(self.vocab))
        template = self.lib.llama_model_chat_template(self.pointer, None)
        self.template = template.decode("utf-8", "replace") if template else ""

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        text: bytes = self.lib.llama_vocab_get_text(self.vocab, token)
        return text.decode("utf-8", "replace")

    def tokens(self, text: str, *, special: bool, start: bool = False) -> list[int]:
        """Tokens of a text. `special`: names of control tokens in it become them; never for a user's text.

        `start`: put the model's start token first, where it wants one. Lone surrogates become U+FFFD.
        """
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raw = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
        room = len(raw) + 8
        found = (self.lib.llama_token * room)()
        count = self.lib.llama_tokenize(self.vocab, raw, len(raw), found, room, start, special)
        if count < 0:
            room = -count
            found = (self.lib.llama_token * room)()
            count = self.lib.llama_tokenize(self.vocab, raw, len(raw), found, room, start, special)
        if count < 0:
            raise BackendError(f"the text of {len(raw)} bytes cannot be tokenized")
        return list(found[:count])

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; control tokens stand for none."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = self.lib.llama_token_to_piece(self.vocab, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def grammar_tokenizer(self) -> Any:
        """The vocabulary as llguidance wants it. It keeps a pointer into the weights, which must outlive it.

        As ``llguidance.llamacpp.lltokenizer_from_vocab`` does, without its deprecated calls (49 000 warnings).
        """
        lib, vocab = self.lib, self.vocab
        room = 16 * 1024
        buffer = ctypes.create_string_buffer(room)
        control, defined = lib.LLAMA_TOKEN_ATTR_CONTROL, lib.LLAMA_TOKEN_ATTR_USER_DEFINED
        pieces = []
        for token in range(self.size):
            count = lib.llama_token_to_piece(vocab, token, buffer, room, 0, True)
            piece = ctypes.string_at(buffer, count) if count > 0 else b""
            kind = lib.llama_vocab_get_attr(vocab, token)
            if kind & control or (kind & defined and piece.startswith(b"<") and piece.endswith(b">")):
                piece = b"\xff" + piece  # llguidance's mark for what no text may contain
            pieces.append(piece)
        tokenize = ctypes.cast(lib.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
        return library("llguidance").LLTokenizer.from_llamacpp(
            tokens=pieces, vocab_ptr=vocab, tokenize_fptr=tokenize, eos_token=self.ends, slices=None
        )

    def free(self) -> None:
        """Give the memory back. Nothing may use the weights or a tokenizer made from them afterwards."""
        if self.pointer:
            self.lib.llama_model_free(self.pointer)
            self.pointer = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One token to evaluate: its place, the sequences it belongs to, whether its logits are wanted."""

    token: int
    position: int
    sequences: tuple[int, ...] = (0,)
    wanted: bool = False


class Context:
    """The cache and compute buffers of one owner thread. Sequence 0 holds the prompt and what was generated."""

    def __init__(self, weights: Weights, size: int, threads: int) -> None:
        self.lib = weights.lib
        self.weights = weights
        self.size = size
        params = self.lib.llama_context_default_params()
        params.n_ctx = size
        params.n_batch = params.n_ubatch = BATCH
        params.n_seq_max = min(SEQUENCES, int(self.lib.llama_max_parallel_sequences()))
        params.n_outputs_max_per_seq = 0
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 0  # left on auto, reusing a prefix moves the logits
        params.kv_unified = True  # else copying a part of a sequence aborts the process
        self.sequences = int(params.n_seq_max)
        self.pointer = self.lib.llama_init_from_model(weights.pointer, params)
        if not self.pointer:
            raise BackendError(
                f"llama.cpp cannot make a context of {size} tokens: too little memory? Set a smaller one"
            )
        self.memory = self.lib.llama_get_memory(self.pointer)
        self._arrays = _Arrays(self.lib, self.sequences)
        self._logits = self.lib.llama_cpp._lib["llama_get_logits_ith"]  # a copy of its own, which gives an address
        self._logits.argtypes, self._logits.restype = [ctypes.c_void_p, ctypes.c_int32], ctypes.c_void_p
        self._views: dict[int, Logits] = {}
        self.scratch: Logits = np.empty(weights.size, np.float32)

    def evaluate(self, entries: Sequence[Entry]) -> None:
        """One evaluation. Raises BackendError, and then the cache is empty."""
        _check_size(len(entries))
        self._decode(self._arrays.batch(entries))

    def extend(self, tokens: Sequence[int], position: int, wanted: bool) -> None:
        """`evaluate` for tokens of sequence 0 alone, with logits after the last one if they are wanted."""
        _check_size(len(tokens))
        self._decode(self._arrays.line(tokens, position, wanted))

    def _decode(self, batch: Any) -> None:
        code = self.lib.llama_decode(self.pointer, batch)
        if code != 0:
            self.clear()
            reason = "the context is full" if code == 1 else f"code {code}"
            raise BackendError(f"llama.cpp could not evaluate {batch.n_tokens} tokens: {reason}")

    def logits(self, row: int) -> Logits:
        """Logits after entry `row` of the last evaluation. A view: the next evaluation overwrites it."""
        address = self._logits(self.pointer, row)
        view = self._views.get(address)
        if view is None:
            view = self._view(address, row)
        return view

    def _view(self, address: int | None, row: int) -> Logits:
        """The same few addresses come again and again; to make an array of one is not cheap."""
        if not address:
            raise BackendError(f"no logits were asked for at row {row}")
        if len(self._views) > BATCH:
            self._views.clear()
        size = self.weights.size
        self._views[address] = np.frombuffer(memoryview((ctypes.c_float * size).from_address(address)), np.float32)
        return self._views[address]

    def cut(self, sequence: int, start: int) -> bool:
        """Forget a sequence from position `start` on; False when this kind of model cannot forget a part."""
        return bool(self.lib.llama_memory_seq_rm(self.memory, sequence, start, -1))

    def share(self, sequence: int, end: int) -> None:
        """Let `sequence` see what sequence 0 holds up to position `end`. Copies nothing."""
        self.lib.llama_memory_seq_cp(self.memory, 0, sequence, 0, end)

    def save(self) -> State:
        """A copy of what sequence 0 holds."""
        size = int(self.lib.llama_state_seq_get_size(self.pointer, 0))
        state = np.empty(size, np.uint8)
        written = int(self.lib.llama_state_seq_get_data(self.pointer, _bytes(state), size, 0))
        return state[:written]

    def restore(self, state: State) -> bool:
        """Put a saved copy into sequence 0 of the same, empty context; False when it did not fit."""
        return bool(self.lib.llama_state_seq_set_data(self.pointer, _bytes(state), state.nbytes, 0))

    def clear(self) -> None:
        """Forget everything."""
        self.lib.llama_memory_clear(self.memory, False)

    def free(self) -> None:
        """Give the memory back."""
        if self.pointer:
            self.lib.llama_free(self.pointer)
            self.pointer = None
            self._views.clear()


def _check_size(tokens: int) -> None:
    """A batch larger than the context was made for would abort the process."""
    if not 0 < tokens <= BATCH:
        raise BackendError(f"{tokens} tokens in one evaluation; 1 to {BATCH} are possible")


def _bytes(state: State) -> Any:
    return ctypes.cast(state.ctypes.data, ctypes.POINTER(ctypes.c_uint8))


class _Arrays:
    """The arrays of a batch, in numpy and made once (so llama_batch_free must never see them)."""

    def __init__(self, lib: Any, sequences: int) -> None:
        self.token = np.zeros(BATCH, np.int32)
        self.position = np.zeros(BATCH, np.int32)
        self.count = np.ones(BATCH, np.int32)
        self.rows = np.zeros((BATCH, sequences), np.int32)
        self.wanted = np.zeros(BATCH, np.int8)
        self.pointers = self.rows.ctypes.data + np.arange(BATCH, dtype=np.uintp) * np.uintp(self.rows.strides[0])
        batch = self.native = lib.llama_batch()
        fields = dict(batch._fields_)
        for name, array in (
            ("token", self.token),
            ("pos", self.position),
            ("n_seq_id", self.count),
            ("seq_id", self.pointers),
            ("logits", self.wanted),
        ):
            setattr(batch, name, ctypes.cast(array.ctypes.data, fields[name]))

    def batch(self, entries: Sequence[Entry]) -> Any:
        size = len(entries)
        self.token[:size] = [e.token for e in entries]
        self.position[:size] = [e.position for e in entries]
        self.wanted[:size] = [e.wanted for e in entries]
        self.count[:size] = [len(e.sequences) for e in entries]
        for index, entry in enumerate(entries):
            self.rows[index, : len(entry.sequences)] = entry.sequences
        self.native.n_tokens = size
        return self.native

    def line(self, tokens: Sequence[int], position: int, wanted: bool) -> Any:
        """Tokens of sequence 0, one after the other."""
        size = len(tokens)
        if size == 1:  # every token that is not forced passes here
            self.token[0], self.position[0], self.wanted[0] = tokens[0], position, wanted
            self.count[0] = 1
            self.rows[0, 0] = 0
        else:
            self.token[:size] = tokens
            self.position[:size] = range(position, position + size)
            self.wanted[:size] = 0
            self.wanted[size - 1] = wanted
            self.count[:size] = 1
            self.rows[:size, 0] = 0
        self.native.n_tokens = size
        return self.native

"""llama.cpp in a process of its own, for what may end it: weights that nobody has vouched for, and quantising.

A damaged file can make llama.cpp abort, crash, or ask for all memory; then the child ends, and the parent says why.
Run as ``python -m agentfleet.backends.llama_cpp.child WORK ARGUMENTS``; the last line on stdout is JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agentfleet.errors import AgentfleetError, ModelFileError

PATIENCE: Final = 60.0
"""Seconds for the child to begin, whatever the size of the file."""
PACE: Final = 20e6
"""Bytes a second that even a slow machine works through."""
SPARE: Final = 4 * 2**30
"""Bytes of address space for the child beside three times the file."""


def check_loads(path: Path) -> int:
    """Load a file, evaluate three tokens and read the answer, all in a child process. How many tokens its vocabulary has.

    Costs about a second and what loading the file costs. Raises ModelFileError: damaged, or not for this llama.cpp.
    """
    return int(run("load", [str(path)], path)["vocabulary"])


def run(work: str, arguments: Sequence[str], path: Path, limit: float | None = None) -> dict[str, Any]:
    """What the child's `work` gives. `path`: the file it is about. `limit`: seconds; default by the file's size.

    Raises ModelFileError with what the child said, or how it ended.
    """
    size = path.stat().st_size if path.is_file() else 0
    command = [sys.executable, "-m", "agentfleet.backends.llama_cpp.child", work, *arguments]
    search = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search},
    ) as child:
        try:
            out, err = child.communicate(timeout=PATIENCE + size / PACE if limit is None else limit)
        except subprocess.TimeoutExpired:
            child.kill()
            raise ModelFileError(f"llama.cpp did not come to an end with {path}; it was stopped. {_DAMAGED}") from None
        except BaseException:
            child.kill()
            raise
    return _told(child.returncode, out, err, path)


_DAMAGED = "The file is damaged: fetch it again and compare its sha256"


def _told(code: int, out: bytes, err: bytes, path: Path) -> dict[str, Any]:
    lines = out.decode("utf-8", "replace").splitlines()
    with suppress(ValueError, IndexError):
        found = json.loads(lines[-1])
        if code == 0 and isinstance(found, dict):
            return found
        if isinstance(found, dict) and "error" in found:
            raise ModelFileError(str(found["error"]))
    if code < 0:
        raise ModelFileError(f"llama.cpp crashed on {path} ({_signal(-code)}). {_DAMAGED}")
    said = err.decode("utf-8", "replace").strip().splitlines()
    raise ModelFileError(f"llama.cpp failed on {path} (exit {code}): {said[-1] if said else 'it said nothing'}")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _load(path: str) -> dict[str, Any]:
    from agentfleet.backends.llama_cpp.chat import Chat
    from agentfleet.backends.llama_cpp.gguf import read_header
    from agentfleet.backends.llama_cpp.native import Context, Weights
    from agentfleet.prompt import Message

    read_header(Path(path))
    weights = Weights(Path(path))
    tokens = (Chat(weights).tokens([Message("user", "Hi")]) or [0])[:3]
    context = Context(weights, 64, 1)
    context.extend(tokens, 0, True)
    best = int(context.logits(len(tokens) - 1).argmax())
    weights.piece(best)
    return {"vocabulary": weights.size, "token": best}


def _quantize(source: str, target: str, kind: str, threads: str) -> dict[str, Any]:
    from agentfleet.backends.llama_cpp.native import library

    lib = library()
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = int(kind), int(threads), True
    code = int(lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), params))
    if code != 0:
        raise ModelFileError(f"llama.cpp could not write {target} from {source} (code {code})")
    return {}


_WORKS: Final[dict[str, Callable[..., dict[str, Any]]]] = {"load": _load, "quantize": _quantize}


def _bound(path: str) -> None:
    """A header can ask for any amount of memory; so that it is refused, not taken."""
    try:
        import resource
    except ImportError:  # no such limits on Windows
        return
    most = SPARE + 3 * (Path(path).stat().st_size if Path(path).is_file() else 0)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: Sequence[str]) -> int:
    """Do one work in this process; 0 when it went well."""
    work, *given = arguments
    _bound(given[0])
    try:
        found = _WORKS[work](*given)
    except (AgentfleetError, MemoryError, OSError, ValueError) as error:
        text = str(error) or type(error).__name__
        print(json.dumps({"error": text}), flush=True)
        return 1
    print(json.dumps(found), flush=True)
    # Freeing what was made of a damaged file may be what crashes; the system takes it all back.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

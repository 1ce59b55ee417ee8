"""How another process finds a graph again: its module, file and name, and a fingerprint-free reference to a step."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agentfleet.errors import UnknownName, nearest
from agentfleet.ids import digest


def target_of(step: Any) -> dict[str, str]:
    """What `find_target` needs, as JSON-able data."""
    return {"name": step.name, "module": step.module, "attr": step.qualname, "file": step.file}


def find_target(target: Mapping[str, str], root: Path) -> Any:
    """The step or graph of a recorded run. Raises UnknownName with what to do when it is no longer there."""
    where = f"{target['module']}:{target['attr']}"
    if "<locals>" in target["attr"]:
        raise UnknownName(
            f"{where} was made inside a function; from Python: session.resume(run_id, graph), session.answer(..., graph=graph)"
        )
    module = load_module(target["module"], target["file"], root)
    found: Any = module
    for part in target["attr"].split("."):
        if not hasattr(found, part):
            raise UnknownName(f"{target['file']} no longer has {target['attr']!r}{nearest(part, vars(module))}")
        found = getattr(found, part)
    return found


def load_module(name: str, file: str, root: Path) -> ModuleType:
    """Import by name with the project root on the path; a script (``__main__``) by its file."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if name not in ("__main__", ""):
        try:
            module = importlib.import_module(name)
            if not file or getattr(module, "__file__", file) == file or not Path(file).exists():
                return module
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise
    return load_file(Path(file))


def load_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, once. Raises UnknownName when it is not there."""
    if not path.is_file():
        raise UnknownName(f"no such file: {path}")
    name = f"agentfleet_file_{path.stem}_{digest(str(path.resolve()))[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownName(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def find_step(graph: Any, path: str, reference: str) -> Any | None:
    """The step of a node: by its path through the graph, else (in a plan or a body) by "module:qualname".

    None when it cannot be imported here.
    """
    return _on_path(graph, [part.split("#")[0] for part in path.split("/")]) or _referenced(graph, reference)


def _on_path(one: Any, names: list[str]) -> Any | None:
    if not one.lies_open:
        if names[0] != one.name:
            return None
        names = names[1:]
    for name in names:
        if one.kind in ("each", "repeat"):
            one = one.inner
            if not one.lies_open:
                if one.name != name:
                    return None
                continue
        if one.kind != "graph" or name not in one.dag.nodes:
            return None
        one = one.dag.nodes[name].step
    return one


def _referenced(graph: Any, reference: str) -> Any | None:
    module_name, _, attr = reference.partition(":")
    if not attr or "<locals>" in attr:
        return None
    module = sys.modules.get(module_name)
    if module is None or module_name == graph.module:
        module = sys.modules.get(graph.module, module)
    found: Any = module
    for part in attr.split("."):
        found = getattr(found, part, None)
    return found

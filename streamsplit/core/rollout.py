"""A rollout and the state of a deployment, as records.

`rollout_file.py` makes a `Rollout` from a file's contents, `fold.py` makes a `State` from the control log, and
`routing.py` compiles a `State` into ranges of buckets.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from streamsplit.core.guards import JudgeSettings

WHOLE = 10_000
"""All requests, in basis points."""


BUDGET_SECONDS = 0.02
"""What a mirror may delay a batch by, unless its `budget` says otherwise."""


class Phase(enum.StrEnum):
    """Where a deployment stands (docs/design.md section 6)."""

    EMPTY = "Empty"
    SERVING = "Serving"
    PREPARING = "Preparing"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"

    @property
    def active(self) -> bool:
        """Whether a rollout is under way."""
        return self in {Phase.PREPARING, Phase.PROGRESSING, Phase.PAUSED}


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One version of a model, pinned by the bytes of its file.

    Attributes:
        name: Folder of the model.
        version: Folder of the version; a string, so that `1.10` stays what it is.
        sha256: Hex digest of the ONNX file.
    """

    name: str
    version: str
    sha256: str

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


Chain = tuple[ModelRef, ...]
"""The models of an arm in order: outputs feed the next one's inputs by name."""


def chain_label(chain: Chain) -> str:
    """The word for a chain in outputs and audit: `name@version`, several joined by `|`."""
    return "|".join(model.label for model in chain)


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a split.

    Attributes:
        name: `control`, or the candidate's name.
        chain: Its models.
    """

    name: str
    chain: Chain


class UnitKind(enum.StrEnum):
    """What is split."""

    ID = "id"
    KEY = "key"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True, slots=True)
class Unit:
    """Who is split, so that one user always meets one arm.

    Attributes:
        kind: Request id, record key or an attribute.
        attribute: The attribute's name, where `kind` is ATTRIBUTE.
    """

    kind: UnitKind
    attribute: str | None = None

    @property
    def sticky(self) -> bool:
        """Whether a unit has many requests, which hang together: its first one in a stay is what counts."""
        return self.kind is not UnitKind.ID


@dataclass(frozen=True, slots=True)
class Mirror:
    """A share of the requests that control answers is handed to candidates too, whose answers nobody sees.

    Attributes:
        shares: Basis points of each candidate, in the order of the arms; each on its own, whatever the others have, and
            not all 0.
        budget_seconds: Longest time that a batch, all its answers ready, waits for its mirrored rows.
    """

    shares: tuple[int, ...]
    budget_seconds: float = BUDGET_SECONDS


@dataclass(frozen=True, slots=True)
class Rule:
    """A route with a condition; first match wins.

    Attributes:
        when: Attribute → accepted values; all must match.
        weights: Basis points of each candidate, in the order of the arms; control gets the rest.
        mirror: What of control's rest is mirrored; None: nothing.
    """

    when: Mapping[str, tuple[str, ...]]
    weights: tuple[int, ...]
    mirror: Mirror | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the ramp.

    Attributes:
        weights: Basis points of each candidate on the default route; empty for a pause.
        pause: True for a stop that only a person leaves.
        bake_seconds: Least time at this step.
        requests: Least number of candidate requests at this step.
        advance: `evidence` or `time`.
        mirror: What of control's rest on the default route is mirrored; a pause keeps that of the step before, as it
            keeps the weights. None: nothing.
    """

    weights: tuple[int, ...] = ()
    pause: bool = False
    bake_seconds: float = 0.0
    requests: int = 0
    advance: str = "evidence"
    mirror: Mirror | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate may use.

    Attributes:
        timeout_seconds: Longest run of at most `run_rows` rows.
        memory_bytes: Address space of a model process beyond its start; None: unlimited.
        breaker: Failed batches in a row after which the candidate's breaker opens.
        run_rows: Most rows in one run.
    """

    timeout_seconds: float = 0.2
    memory_bytes: int | None = None
    breaker: int = 5
    run_rows: int = 256


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on one output of any arm; a failed check is that arm's error.

    Attributes:
        finite: NaN and infinities fail.
        minimum: Values below fail; None: no bound.
        maximum: Values above fail; None: no bound.
    """

    finite: bool = False
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """One change under test, as its file describes it.

    Attributes:
        name: Its name.
        salt: What the bucket's hash starts with; the name unless given.
        arms: Control first, then the candidates in file order; control alone for plain serving.
        unit: Who is split.
        rules: Conditional routes, in file order.
        steps: The ramp of the default route; empty for plain serving.
        limits: What a candidate may use.
        checks: Output name → condition.
        judge: How it is judged.
        mode: `auto` or `advise`; with `advise` the judge writes decisions and no commands.
        digest: sha256 of the canonical JSON of the file and the models' digests.
    """

    name: str
    salt: str
    arms: tuple[Arm, ...]
    unit: Unit
    rules: tuple[Rule, ...] = ()
    steps: tuple[Step, ...] = ()
    limits: Limits = Limits()
    checks: Mapping[str, Check] = field(default_factory=lambda: MappingProxyType({}))
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    mode: str = "auto"
    digest: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The fold of the control log up to a command.

    Attributes:
        revision: Offset of the command that made this state; -1 for Empty.
        phase: Where the deployment stands.
        serving: The chain that serves as control now; empty before the first apply.
        previous: The chain that served before the last promotion, kept warm until the next apply; empty otherwise.
        rollout: The rollout of the last accepted apply.
        apply_revision: Offset of that apply; -1 for none.
        attempt: How often this same file has been tried, from 1.
        step: Index of the present step; -1 before the first.
        weights: Basis points of each candidate on the default route: all 0 while Preparing, empty while no rollout is
            active, so that there is always one for each of `arms` after control.
        by_hand: True from `set_weight` until the ramp goes on: the weights are not those of the present step.
        stay: Revision that began the present stay: the same step with the same weights. -1 while nothing is split.
        exposed: Basis points: on the default route, units whose bucket is below were a candidate's at an earlier stay
            of this rollout. None at its first stay, before which no rule had given anybody to a candidate either.
        rolled_back: Digests of rollouts that were aborted, with the number of attempts.
        accepted_losses: Request partition → offset up to which an operator accepted a range lost to retention.
        command_ids: Ids of all commands accepted so far.
        newer_format: Version of the newest command format met that this program does not know; 0 for none.
    """

    revision: int = -1
    phase: Phase = Phase.EMPTY
    serving: Chain = ()
    previous: Chain = ()
    rollout: Rollout | None = None
    apply_revision: int = -1
    attempt: int = 0
    step: int = -1
    weights: tuple[int, ...] = ()
    by_hand: bool = False
    stay: int = -1
    exposed: int | None = None
    rolled_back: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    accepted_losses: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    command_ids: frozenset[str] = frozenset()
    newer_format: int = 0

    @property
    def name(self) -> str:
        """The rollout's name as results carry it; empty before the first apply."""
        return self.rollout.name if self.rollout else ""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms that may serve now: control (what serves today) first, candidates only while a rollout is active."""
        control = Arm("control", self.serving)
        if self.rollout is None or not self.phase.active:
            return (control,)
        return (control, *self.rollout.arms[1:])

    @property
    def splitting(self) -> bool:
        """Whether candidates may answer now: weights and rules hold."""
        return self.phase in {Phase.PROGRESSING, Phase.PAUSED}

    @property
    def mirror(self) -> Mirror | None:
        """What is mirrored on the default route now; weights set by hand keep the mirror of the present step."""
        if self.rollout is None or not self.splitting or self.step < 0:
            return None
        return self.rollout.steps[self.step].mirror

    @property
    def warm(self) -> tuple[Chain, ...]:
        """The chains a worker keeps loaded.

        Those of the arms, the one that is to replace control once it is loaded everywhere, and the one that an abort
        would return to.
        """
        chains = [arm.chain for arm in self.arms if arm.chain]
        if self.rollout is not None and self.phase is Phase.PREPARING and self.rollout.arms[0].chain != self.serving:
            chains.append(self.rollout.arms[0].chain)
        if self.previous:
            chains.append(self.previous)
        return tuple(chains)

"""The topics of a deployment: their names, and how each is made (docs/design.md section 2)."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from streamsplit.core.errors import UsageError

_DAY_MS = 86_400_000
FOR_EVER = -1
"""`retention.ms` and `retention.bytes` of a topic that keeps everything."""

LONGEST_ROLLOUT_MS = 30 * _DAY_MS
"""How long summaries are kept unless `audit` is kept longer."""

HEADROOM_BYTES = 65_536
"""What a dead letter's or an output's headers, key and framing may add to the request it answers."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How one topic is made.

    Attributes:
        word: Its name without the deployment; the key under which the settings rename it.
        as_requests: True where it has a partition for each of `requests`; otherwise it has one.
        config: Topic settings; what is not named is the broker's default, or the user's choice.
        passes_requests: True where its records may be as large as the largest request.
        planned: True where nothing reads or writes it yet, so that it is not made.
    """

    word: str
    as_requests: bool
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    passes_requests: bool = False
    planned: bool = False


_KEPT = MappingProxyType({"cleanup.policy": "delete", "retention.ms": f"{FOR_EVER}", "retention.bytes": f"{FOR_EVER}"})
_LATEST_PER_KEY = MappingProxyType(
    {
        "cleanup.policy": "compact",
        "segment.ms": "60000",
        "segment.bytes": "4194304",
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": "3600000",
    }
)

PLANS: tuple[TopicPlan, ...] = (
    TopicPlan("requests", as_requests=True),
    TopicPlan("outputs", as_requests=True, passes_requests=True),
    TopicPlan("audit", as_requests=True, passes_requests=True),
    TopicPlan("dead-letters", as_requests=True, passes_requests=True),
    TopicPlan("summaries", as_requests=False, config=MappingProxyType({"cleanup.policy": "delete"})),
    TopicPlan("control", as_requests=False, config=_KEPT),
    TopicPlan("workers", as_requests=False, config=_LATEST_PER_KEY),
    TopicPlan("decisions", as_requests=False, config=_KEPT),
    TopicPlan("judge-state", as_requests=False, config=_LATEST_PER_KEY),
    TopicPlan("outcomes", as_requests=True, planned=True),
    TopicPlan("corrections", as_requests=True, planned=True),
)
"""All topics, `requests` first: the others take their size from it."""

_WORDS = tuple(plan.word for plan in PLANS)


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of a deployment's topics: `<deployment>.<word>` unless the settings rename one.

    Attributes:
        deployment: The deployment's name.
        overrides: Word → another name, such as `requests: orders`.

    Raises:
        UsageError: An override names no topic, or two topics have one name.
    """

    deployment: str
    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for word in self.overrides:
            if word.replace("_", "-") not in _WORDS:
                near = difflib.get_close_matches(word, _WORDS, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(_WORDS)}"
                raise UsageError(f"topics: there is no topic {word!r} to rename; {hint}")
        names = [self.name(word) for word in _WORDS]
        for name in names:
            if names.count(name) > 1:
                same = " and ".join(word for word in _WORDS if self.name(word) == name)
                raise UsageError(f"topics: {same} have the same name {name!r}; give each its own")

    def name(self, word: str) -> str:
        """The full name of the topic with this word of `PLANS`."""
        named = self.overrides.get(word) or self.overrides.get(word.replace("-", "_"))
        return named or f"{self.deployment}.{word}"

    @property
    def requests(self) -> str:
        """Inference requests."""
        return self.name("requests")

    @property
    def outputs(self) -> str:
        """One prediction a request."""
        return self.name("outputs")

    @property
    def audit(self) -> str:
        """How each request was routed and served."""
        return self.name("audit")

    @property
    def dead_letters(self) -> str:
        """Records that cannot be served."""
        return self.name("dead-letters")

    @property
    def summaries(self) -> str:
        """What each batch adds to each window."""
        return self.name("summaries")

    @property
    def control(self) -> str:
        """Commands; state is the fold of this log."""
        return self.name("control")

    @property
    def workers(self) -> str:
        """The status of each worker."""
        return self.name("workers")

    @property
    def decisions(self) -> str:
        """Every decision of the judge."""
        return self.name("decisions")

    @property
    def judge_state(self) -> str:
        """The judge's state."""
        return self.name("judge-state")

    @property
    def outcomes(self) -> str:
        """Ground truth or feedback for requests."""
        return self.name("outcomes")

    @property
    def corrections(self) -> str:
        """New versions of outputs after a rollback."""
        return self.name("corrections")

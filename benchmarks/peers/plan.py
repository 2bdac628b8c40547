"""What a peer is told: its one argument, JSON.

Nothing here or in the peers' programs imports StreamSplit: they are what its users would write without it.
"""

import json
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Plan:
    """What to serve, and the conditions that are the same for all.

    Attributes:
        brokers: Bootstrap servers.
        source: Topic of requests (`schemas/request.avsc`, single-object framing).
        targets: Consumer group or application id; `<targets>.outputs` and `<targets>.audit` are written, and have the
            source's partitions.
        batch: Requests of a transaction or of a commit, where the system lets one say so.
        models: The ONNX files of control and of the candidate.
        kind: What the requests are, `flights` or `digits`; for people, as tensors have names and types of their own.
        salt: Of the routing.
        weight_percent: The candidate's share.
        output_bytes: Mean length of an output value.
        audit_bytes: Mean length of an audit value.
        folder: An empty folder for what it writes on disk; whoever made it removes it, however the peer ends.
        exactly_once: Whether in transactions, where the system has them; else at least once.
        linger_ms: Of the producer.
        compression: Of the producer.
    """

    brokers: str
    source: str
    targets: str
    batch: int
    models: tuple[str, str]
    kind: str
    salt: str
    weight_percent: float
    output_bytes: float
    audit_bytes: float
    folder: str
    exactly_once: bool = True
    linger_ms: int = 5
    compression: str = "none"

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """Read a plan.

        Raises:
            ValueError: A field is missing or unknown, or there are not two models.
        """
        told = json.loads(text)
        known = {field.name for field in fields(cls)}
        if unknown := sorted(told.keys() - known):
            raise ValueError(f"the plan has {', '.join(unknown)}; expected only {', '.join(sorted(known))}")
        try:
            plan = cls(**{**told, "models": tuple(told.get("models", ()))})
        except TypeError as error:
            raise ValueError(f"the plan is not complete: {error}") from error
        if len(plan.models) != 2:
            raise ValueError(f"expected the files of two models, control's and the candidate's, found {plan.models}")
        return plan

    def text(self) -> str:
        """The plan as JSON, to be read again with `parse`."""
        return json.dumps(asdict(self))

    @property
    def outputs(self) -> str:
        """Topic of predictions."""
        return f"{self.targets}.outputs"

    @property
    def audit(self) -> str:
        """Topic of audit records."""
        return f"{self.targets}.audit"

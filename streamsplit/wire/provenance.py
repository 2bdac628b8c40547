"""What all records of a batch say of where they come from."""

from dataclasses import dataclass

from streamsplit.core.records import TensorSpec


@dataclass(frozen=True, slots=True)
class Provenance:
    """The state a batch was served under, as its outputs and audit carry it.

    Attributes:
        rollout: Name of the rollout.
        revision: Offset of the control command that made the state.
        arms: Names of the arms, control first.
        models: `name@version` of each arm's chain, in the order of `arms`.
        outputs: What every arm answers with.
    """

    rollout: str
    revision: int
    arms: tuple[str, ...]
    models: tuple[str, ...]
    outputs: tuple[TensorSpec, ...]

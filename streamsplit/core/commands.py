"""The commands of the control log, and the two answers that are not a new state.

`wire/commands.py` reads them from records and writes them; `fold.py` says what they do.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from streamsplit.core.findings import Finding

FORMAT = 1
"""The newest command format that this program knows.

A newer format keeps the record's fields and sets `format`, so that an older program sees that it is too old.
"""


class Kind(enum.StrEnum):
    """What a command does (docs/design.md section 6)."""

    APPLY = "apply"
    BEGIN = "begin"
    ADVANCE = "advance"
    SET_WEIGHT = "set_weight"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    ACCEPT_LOSS = "accept_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        command_id: Its sender's name for it; a second one of the same id changes nothing.
        kind: One of `Kind`; any other word is refused by the fold.
        rollout: Name of the rollout it means.
        payload: Its arguments: the parsed object, or its JSON text.
        apply_revision: Offset of the apply it means; None: whichever is active.
        expected_revision: The revision its sender saw; None: any.
        actor: Who asks.
        reason: Why, for a person.
        issued_at_ms: When it was issued, milliseconds since the epoch; nothing is decided by it.
        format: Version of the command format.
        signature: Reserved for signed commands.
    """

    command_id: str
    kind: str
    rollout: str = ""
    payload: Mapping[str, object] | str = "{}"
    apply_revision: int | None = None
    expected_revision: int | None = None
    actor: str = "unknown"
    reason: str = ""
    issued_at_ms: int = 0
    format: int = FORMAT
    signature: bytes | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record of the control log that is no command.

    Attributes:
        reason: Why, for a person.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command changes nothing. A value: everybody who folds the log comes to the same one.

    Attributes:
        reason: What is wrong and the cure, for a person.
        unchanged: True where an apply brings the file that is already there: done, not failed.
        findings: What is wrong with the rollout file of an apply, or with the weights.
    """

    reason: str
    unchanged: bool = False
    findings: tuple[Finding, ...] = ()

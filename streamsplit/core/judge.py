"""The judge: summaries in their order, and the states they were served under, to decisions.

It is a function of what it reads: whoever takes over with its record, and whoever replays the topics, decides the
same, bit for bit. Nothing that a summary says can stop it.
"""

import contextlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Self

from streamsplit.core.decision import Decision
from streamsplit.core.errors import DataError
from streamsplit.core.judging.baseline import Baseline, Level
from streamsplit.core.judging.case import Case
from streamsplit.core.rollout import State
from streamsplit.core.summary import Summary

VERSION = 2
"""Of the record of a judge's state."""

DECIDES = 4
"""Version of what is decided, which each decision names. Raise it with every change after which the same summaries lead
to other decisions, reasons or evidence: `verify` does not decide again what another version has decided."""

LARGEST_RECORD = 200_000
"""Most bytes of a record, of a rollout with two arms."""

_NO_LEVELS: Mapping[int, Level] = MappingProxyType({})


class Judge:
    """What is known of the present rollout, or, while nobody answers beside control, of control.

    Args:
        levels: Revision of an apply → control's level before that rollout, to be believed in place of what was read:
            for a replay whose summaries do not reach back so far.
        live: Whether requests come at the rate of all traffic; of a sample nobody can tell whether a candidate would
            bear all of it (`capacity`).

    Attributes:
        revision: The highest revision that summaries have named so far; -1 for none.
        ignored: Summaries that said nothing of the present rollout.
    """

    def __init__(self, levels: Mapping[int, Level] = _NO_LEVELS, *, live: bool = True) -> None:
        self.revision = -1
        self.ignored = 0
        self._levels = levels
        self._live = live
        self._baseline: Baseline | None = None
        self._case: Case | None = None
        self._unmade: Mapping[str, Any] | None = None

    @classmethod
    def fresh(cls) -> Self:
        """One that has read nothing."""
        return cls()

    @classmethod
    def restored(cls, record: bytes) -> Self:
        """One that goes on where another stood.

        Raises:
            DataError: The record is damaged, or of a version that this program does not know.
        """
        try:
            plain = json.loads(zlib.decompress(record))
            if plain["version"] != VERSION:
                newer = isinstance(plain["version"], int) and plain["version"] > VERSION
                raise DataError(
                    "decode",
                    f"the judge's state has version {plain['version']}, expected {VERSION}"
                    f"{': upgrade this worker' if newer else ''}",
                )
            judge = cls()
            judge.revision, judge.ignored = int(plain["revision"]), int(plain["ignored"])
            judge._unmade = plain["case"]
            known = plain["baseline"]
            # What cannot be read any more is a guard that says nothing, and no reason to judge nothing.
            with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
                judge._baseline = Baseline.from_plain(known) if known is not None else None
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise DataError("decode", f"the judge's state is damaged: {error!r}") from error
        return judge

    def record(self) -> bytes:
        """Its state."""
        case = self._unmade if self._case is None else self._case.to_plain()
        plain = {
            "version": VERSION,
            "revision": self.revision,
            "ignored": self.ignored,
            "baseline": None if self._baseline is None else self._baseline.to_plain(),
            "case": case,
        }
        return zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 1)

    def take(self, summary: Summary, offset: int, state: State, control_to: int) -> tuple[Decision, ...]:
        """Take one summary; each once, in the order of the topic.

        Args:
            summary: What it says.
            offset: Its place in the topic.
            state: The fold of the control log at exactly the highest revision that summaries have named, this one
                included; -1 means the state before the first command.
            control_to: Next offset of the control log that this state comes from, to be told in decisions.

        Returns:
            What is decided, in order. Never raises for anything that a summary may say.
        """
        self.revision = max(self.revision, summary.revision)
        case = self._of(state)
        if state.splitting and case is not None:
            self._hold_control(case, state)
        self._measure(summary, state)
        if case is None or summary.revision < state.apply_revision:
            self.ignored += 1
            return ()
        return tuple(replace(each, judge=DECIDES) for each in case.take(summary, offset, state, control_to))

    def overhear(self, summary: Summary, state: State) -> None:
        """Take what a summary says of control alone, as its rollout is not to be judged.

        Args:
            summary: What it says.
            state: As in `take`.
        """
        self.revision = max(self.revision, summary.revision)
        self._measure(summary, state)

    def _hold_control(self, case: Case, state: State) -> None:
        """Hold control to its level before the rollout as candidates begin to answer."""
        measured = None if self._baseline is None else self._baseline.level
        level = self._levels.get(state.apply_revision, measured)
        if level is not None and case.level is None:
            case.hold_control_to(level, state)

    def _measure(self, summary: Summary, state: State) -> None:
        """Measure control's level while nobody answers beside it, anew after each rollout."""
        if state.splitting:
            self._baseline = None
            return
        self._baseline = Baseline() if self._baseline is None else self._baseline
        self._baseline.take(summary, state)

    def _of(self, state: State) -> Case | None:
        """What is known of the rollout that is under way."""
        if not state.phase.active or state.rollout is None:
            self._case = self._unmade = None
            return None
        if self._case is None and self._unmade is not None:
            unmade, self._unmade = self._unmade, None
            # What cannot be read any more is evidence lost, and no reason to judge nothing.
            with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
                self._case = Case.restored(state, unmade)
        if self._case is None or self._case.apply_revision != state.apply_revision:
            self._case = Case(state, live=self._live)
        return self._case

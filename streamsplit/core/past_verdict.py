"""What the judge says of requests of the past, for a notebook."""

from dataclasses import dataclass

from streamsplit.core.decision import Decision, Reading, WindowPoint
from streamsplit.core.errors import UsageError
from streamsplit.core.judging.words import amount, e_value

_HEAD: tuple[str, ...] = ("guard", "verdict", "control", "candidate", "ratio (interval)", "e against it", "e for it")


@dataclass(frozen=True, slots=True, repr=False)
class Judged:
    """What the judge says of requests of the past.

    Attributes:
        decided: The first decision that would have ended the rollout: `rollback` or `promote`, with its reasons and
            its window; None: there is not enough evidence for either.
        readings: Each guard at the end of all requests, whenever the judge decided.
        windows: Each closed window with the mean e-value against the candidate at its end (`log_e`), oldest first.
        log_needed: What `log_e` of a window must reach to roll back: log(1/alpha).
        decisions: All decisions, one a window, more where a limit acted.
    """

    decided: Decision | None
    readings: tuple[Reading, ...]
    windows: tuple[WindowPoint, ...]
    log_needed: float
    decisions: tuple[Decision, ...]

    def reading(self, guard: str) -> Reading:
        """The reading of one guard, such as `errors`.

        Raises:
            UsageError: There is no such guard.
        """
        for each in self.readings:
            if each.guard == guard:
                return each
        known = ", ".join(f"`{each.guard}`" for each in self.readings)
        raise UsageError(f"there is no guard `{guard}`; expected one of {known}")

    def __repr__(self) -> str:
        """A table for a terminal or a notebook."""
        lines = [_HEAD, *map(_line, self.readings)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join((self._verdict(), "", *table))

    def _verdict(self) -> str:
        now = e_value(self.windows[-1].log_e) if self.windows else "1"
        seen = f"{len(self.windows)} windows, mean e-value {now} of {e_value(self.log_needed)} to roll back"
        if self.decided is None:
            return f"undecided\n{seen}"
        at = next((i for i, each in enumerate(self.windows, 1) if each.start >= self.decided.window_start), 0)
        return f"{self.decided.kind} in window {at}: {self.decided.reasons[0]}\n{seen}"


def _line(reading: Reading) -> tuple[str, ...]:
    dry = " (dry run)" if reading.dry_run else ""
    effect = "" if reading.effect is None else f"{reading.effect:.3g}"
    if effect and reading.low is not None and reading.high is not None:
        effect += f" ({reading.low:.3g} to {reading.high:.3g})"
    figures = ["" if each is None else amount(each, reading.unit) for each in (reading.control, reading.candidate)]
    return (
        reading.guard,
        f"{reading.verdict}{dry}",
        *figures,
        effect,
        _of(reading.log_e, reading.log_needed),
        _of(reading.log_e_good, reading.log_needed_good),
    )


def _of(log_e: float | None, needed: float | None) -> str:
    if log_e is None:
        return ""
    return e_value(log_e) if needed is None else f"{e_value(log_e)} of {e_value(needed)}"

"""Requests of the past as columns, checked, for judging them without Kafka."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.closing import MOST_REVISIONS
from streamsplit.core.errors import UsageError
from streamsplit.core.records import NOBODY, Outcome, Predictions, Reflection, Routing

ARMS = 2
"""Control and one candidate."""

MOST_RULE = 2**14
"""Highest number of a rule."""

_MOST = 2**53


@dataclass(frozen=True, slots=True)
class PastRequests:
    """Requests that control or one candidate was given.

    Attributes:
        arm_names: Control and the candidate.
        times: int64 (m,), milliseconds since the epoch.
        revisions: int64 (m,), what each was served under; not negative.
        routing: Assigned arms and rules; buckets mean nothing.
        predictions: How they ended; no outputs.
        scores: float64 (m,), NaN for none; None: there are none.
        firsts: bool (m,), which are evidence where a unit has many requests; None: all of them.
    """

    arm_names: tuple[str, str]
    times: NDArray[np.int64]
    revisions: NDArray[np.int64]
    routing: Routing
    predictions: Predictions
    scores: NDArray[np.float64] | None
    firsts: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Number of requests (m)."""
        return len(self.times)

    def without_default(self) -> "PastRequests":
        """The same requests under other numbers of rules, of which none is the default route's.

        The judge knows what share the default route should give, and here nobody does.
        """
        routing = replace(self.routing, rules=self.routing.rules + 1)
        return replace(self, routing=routing)

    def ordered(self, order: NDArray[np.int64]) -> "PastRequests":
        """The same requests in another order: int64 (m,), the place of each."""
        routing, predictions = self.routing, self.predictions
        moved = np.argsort(order)
        return PastRequests(
            arm_names=self.arm_names,
            times=self.times[order],
            revisions=self.revisions[order],
            routing=Routing(
                units=routing.units.at(order),
                buckets=routing.buckets[order],
                rules=routing.rules[order],
                arms=routing.arms[order],
            ),
            predictions=replace(
                predictions,
                served_by=predictions.served_by[order],
                outcomes=predictions.outcomes[order],
                micros=predictions.micros[order],
                mirrored=_mapped(predictions.mirrored, lambda each: _moved(each, moved)),
            ),
            scores=None if self.scores is None else self.scores[order],
            firsts=None if self.firsts is None else self.firsts[order],
        )

    def between(self, start: int, stop: int) -> "PastRequests":
        """The requests from one place to another."""
        routing, predictions, rows = self.routing, self.predictions, slice(start, stop)
        return PastRequests(
            arm_names=self.arm_names,
            times=self.times[rows],
            revisions=self.revisions[rows],
            routing=Routing(routing.units[rows], routing.buckets[rows], routing.rules[rows], routing.arms[rows]),
            predictions=replace(
                predictions,
                served_by=predictions.served_by[rows],
                outcomes=predictions.outcomes[rows],
                micros=predictions.micros[rows],
                mirrored=_mapped(predictions.mirrored, lambda each: _between(each, start, stop)),
            ),
            scores=None if self.scores is None else self.scores[rows],
            firsts=None if self.firsts is None else self.firsts[rows],
        )


def _mapped(
    mirrored: Mapping[int, Reflection] | None, change: Callable[[Reflection], Reflection]
) -> Mapping[int, Reflection] | None:
    return None if mirrored is None else {arm: change(each) for arm, each in mirrored.items()}


def _moved(reflection: Reflection, places: NDArray[np.int64]) -> Reflection:
    """What was mirrored, where the requests are at other places, int64 (m,)."""
    rows = places[reflection.rows]
    order = np.argsort(rows)
    return Reflection(
        rows=rows[order],
        outcomes=reflection.outcomes[order],
        micros=reflection.micros[order],
        agrees=reflection.agrees[order],
        scores=None if reflection.scores is None else reflection.scores[order],
    )


def _between(reflection: Reflection, start: int, stop: int) -> Reflection:
    """What was mirrored of the requests from one place to another."""
    first, last = np.searchsorted(reflection.rows, (start, stop))
    return Reflection(
        rows=reflection.rows[first:last] - start,
        outcomes=reflection.outcomes[first:last],
        micros=reflection.micros[first:last],
        agrees=reflection.agrees[first:last],
        scores=None if reflection.scores is None else reflection.scores[first:last],
    )


def of_arrays(
    arms: ArrayLike,
    times: ArrayLike,
    *,
    errors: ArrayLike | None,
    scores: ArrayLike | None,
    micros: ArrayLike | None,
    rules: ArrayLike | None,
    revisions: ArrayLike | None,
    control: str,
) -> PastRequests:
    """Columns of a notebook; see `streamsplit.core.judge_arrays`.

    Raises:
        UsageError: A column is not what was expected.
    """
    names, codes = _arms(arms, control)
    count = len(codes)
    failed = np.zeros(count, np.bool_) if errors is None else _flags(errors, count)
    lost = np.where(codes == 0, Outcome.DEAD_LETTER, Outcome.FALLBACK_ERROR)
    return PastRequests(
        arm_names=names,
        times=_times(times, count),
        revisions=_revisions(revisions, count),
        routing=Routing(
            units=ByteStrings.repeated(None, count),
            buckets=np.zeros(count, np.int16),
            rules=_whole("rules", rules, count, default=-1, greatest=MOST_RULE).astype(np.int16),
            arms=codes,
        ),
        predictions=Predictions(
            served_by=np.where(failed, np.where(codes == 0, NOBODY, 0), codes).astype(np.int8),
            outcomes=np.where(failed, lost, Outcome.OK).astype(np.int8),
            micros=_whole("micros", micros, count),
            outputs={},
            reasons={},
        ),
        scores=None if scores is None else _floats("scores", scores, count),
    )


def _arms(arms: ArrayLike, control: str) -> tuple[tuple[str, str], NDArray[np.int8]]:
    given = _column("arms", arms, None, f"the name of an arm for each request, such as `{control}` and `canary`")
    words = [str(word) for word in given.tolist()]
    others = sorted(set(words) - {control})
    if len(others) != ARMS - 1 or control not in words:
        found = ", ".join(f"`{word}`" for word in sorted(set(words))[:5]) or "nothing"
        raise UsageError(
            f"arms: found {found}; expected `{control}` and one candidate. Another name for control goes into"
            " `control=`; several candidates are judged one after the other, each beside control"
        )
    codes = np.fromiter((word != control for word in words), np.int8, len(words))
    return (control, others[0]), codes


def _column(name: str, values: ArrayLike, count: int | None, expected: str) -> NDArray[Any]:
    """A column as an array (m,)."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UsageError(f"{name}: {error}; expected {expected}") from error
    if array.ndim != 1 or (count is not None and len(array) != count):
        shape = f"({count},)" if count is not None else "(m,)"
        raise UsageError(f"{name}: the shape is {array.shape}; expected {shape}, {expected}")
    return array


def _times(values: ArrayLike, count: int) -> NDArray[np.int64]:
    expected = "int64 milliseconds since the epoch, or datetime64"
    array = _column("times", values, count, expected)
    if array.dtype.kind == "M":
        if np.isnat(array).any():
            raise UsageError(f"times: some are NaT; expected {expected} for each request")
        return array.astype("datetime64[ms]").astype(np.int64)
    if array.dtype.kind not in "iu" and len(array):
        raise UsageError(f"times: they are {array.dtype}; expected {expected}")
    return array.astype(np.int64)


def _flags(values: ArrayLike, count: int) -> NDArray[np.bool_]:
    expected = "true or 1 where the arm itself did not answer correctly, else false or 0"
    array = _column("errors", values, count, expected)
    if array.dtype.kind != "b" and not (array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all()):
        raise UsageError(f"errors: they are {array.dtype} with other values than 0 and 1; expected {expected}")
    return array.astype(np.bool_)


def _floats(name: str, values: ArrayLike, count: int) -> NDArray[np.float64]:
    expected = "a number for each request, NaN where there is none"
    array = _column(name, values, count, expected)
    if array.dtype.kind not in "iufb":
        try:
            array = np.array([np.nan if value is None else float(value) for value in array.tolist()])
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: {error}; expected {expected}") from error
    return array.astype(np.float64)


def _revisions(values: ArrayLike | None, count: int) -> NDArray[np.int64]:
    revisions = _whole("revisions", values, count)
    distinct = len(np.unique(revisions))
    if distinct > MOST_REVISIONS:
        raise UsageError(f"revisions: there are {distinct}; expected at most {MOST_REVISIONS}, one for each split")
    return revisions


def _whole(
    name: str, values: ArrayLike | None, count: int, *, default: int = 0, greatest: int = _MOST
) -> NDArray[np.int64]:
    """A column of numbers from `default`, which stands where there is no column; fractions are rounded."""
    if values is None:
        return np.full(count, default, np.int64)
    expected = f"numbers from {default} to {greatest}"
    array = _column(name, values, count, expected)
    if len(array) and not (array.dtype.kind in "iuf" and ((array >= default) & (array <= greatest)).all()):
        raise UsageError(f"{name}: some are none, too small or too large; expected {expected}")
    whole: NDArray[np.int64] = np.rint(array).astype(np.int64)
    return whole

"""Recorded audit records as columns: lines of JSON, or mappings, with the fields of `schemas/audit.avsc`."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import UsageError
from streamsplit.core.findings import show
from streamsplit.core.past_requests import MOST_RULE, PastRequests
from streamsplit.core.past_units import UnitColumns, first_requests
from streamsplit.core.records import NOBODY, UNKNOWN, Outcome, Predictions, Reflection, Routing
from streamsplit.core.rollout import WHOLE
from streamsplit.core.routing import NO_BUCKET

CONTROL = "control"

_CODES = {outcome.label: int(outcome) for outcome in Outcome}
_WHOLE = "a whole number"
_MOST = 2**62


@dataclass(frozen=True, slots=True)
class Audit:
    """What a recording says of one rollout.

    Attributes:
        rollout: Its name.
        requests: Of revisions in which the candidate had some; with first requests where units are not request ids, so
            that requests hang together.
    """

    rollout: str
    requests: PastRequests


def read_audit(
    records: Iterable[str | bytes | Mapping[str, Any]], rollout: str | None, candidate: str | None, window_ms: int
) -> Audit:
    """Read a recording; see `streamsplit.core.judge_audit`.

    Args:
        records: As there.
        rollout: As there.
        candidate: As there.
        window_ms: Length of a window in milliseconds.

    Raises:
        UsageError: A record is not what was expected, or it is not clear who is to be judged.
    """
    read = list(_records(records))
    rollouts = dict.fromkeys(each.rollout for each in read if each.concerns())
    name = _chosen("rollout", rollout, rollouts)
    read = [each for each in read if each.rollout == name]
    arm = _chosen("candidate", candidate, dict.fromkeys(word for each in read for word in each.candidates()))
    split = {each.revision for each in read if arm in each.candidates()}
    firsts = _firsts(read, window_ms) if any(each.sticky for each in read) else None
    kept = [at for at, each in enumerate(read) if each.revision in split and each.arm in {CONTROL, arm}]
    requests = _columns([read[at] for at in kept], arm)
    return Audit(name, requests if firsts is None else replace(requests, firsts=firsts[kept]))


@dataclass(frozen=True, slots=True)
class _Mirrored:
    """One candidate's unseen answer."""

    arm: str
    outcome: int
    micros: int
    score: float


@dataclass(frozen=True, slots=True)
class _Record:
    """One record, as far as it is judged."""

    unit: bytes | None
    sticky: bool
    bucket: int | None
    rollout: str
    revision: int
    rule: int
    arm: str
    served_by: str | None
    outcome: int
    time: int
    micros: int
    score: float
    mirrored: tuple[_Mirrored, ...]

    def candidates(self) -> Iterator[str]:
        """Who answered it, or would have."""
        if self.arm != CONTROL:
            yield self.arm
        for each in self.mirrored:
            yield each.arm

    def concerns(self) -> bool:
        """Whether a candidate had to do with it."""
        return self.arm != CONTROL or bool(self.mirrored)


def _records(records: Iterable[str | bytes | Mapping[str, Any]]) -> Iterator[_Record]:
    for number, record in enumerate(records, 1):
        if isinstance(record, str | bytes):
            if not record.strip():
                continue
            try:
                record = json.loads(record)  # noqa: PLW2901 - a line and what it says
            except ValueError as error:
                raise UsageError(f"line {number}: {error}; expected an audit record as JSON") from error
        if not isinstance(record, Mapping):
            raise UsageError(f"line {number}: it is {show(record)}; expected an audit record, a JSON object")
        try:
            yield _read(record)
        except _WrongField as wrong:
            raise UsageError(f"line {number}: {wrong}") from None


class _WrongField(Exception):
    """A field is not what was expected."""


def _read(record: Mapping[str, Any]) -> _Record:
    unit, name = _unit(_plain(record.get("unit"))), _text(record, "id")
    served_by = _plain(record.get("served_by"))
    return _Record(
        unit=unit,
        sticky=unit is not None and unit not in {name.encode(), _latin(name)},
        bucket=_integer(record, "bucket", NO_BUCKET, WHOLE - 1) if "bucket" in record else None,
        rollout=_text(record, "rollout"),
        revision=_integer(record, "revision", 0),
        rule=_integer(record, "rule", -1, MOST_RULE),
        arm=_text(record, "arm"),
        served_by=None if served_by is None else str(served_by),
        outcome=_outcome(record),
        time=_integer(record, "request_time"),
        micros=max(0, _integer(record, "inference_micros")),
        score=_score(record),
        mirrored=tuple(
            _Mirrored(_text(each, "arm"), _outcome(each), max(0, _integer(each, "inference_micros")), _score(each))
            for each in record.get("mirrored") or ()
        ),
    )


def _score(record: Mapping[str, Any]) -> float:
    """NaN for none."""
    score = _plain(record.get("score"))
    return float(score) if isinstance(score, int | float) and not isinstance(score, bool) else float("nan")


def _plain(value: Any) -> Any:
    """A value without the wrapping of a union in Avro's JSON."""
    return next(iter(value.values())) if isinstance(value, Mapping) and len(value) == 1 else value


def _latin(text: str) -> bytes:
    """Bytes as Avro's JSON writes them; UTF-8 where they are not."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _unit(value: Any) -> bytes | None:
    return _latin(value) if isinstance(value, str) else value if isinstance(value, bytes) else None


def _field(record: Mapping[str, Any], name: str, right: Callable[[Any], bool], expected: str) -> Any:
    value = _plain(record.get(name))
    if not right(value):
        raise _WrongField(f"`{name}` is {show(value)}; expected {expected}")
    return value


def _text(record: Mapping[str, Any], name: str) -> str:
    return str(_field(record, name, lambda value: isinstance(value, str), "text"))


def _integer(record: Mapping[str, Any], name: str, least: int = -_MOST, greatest: int = _MOST) -> int:
    def right(value: Any) -> bool:
        return isinstance(value, int) and least <= value <= greatest

    return int(_field(record, name, right, _WHOLE if greatest == _MOST else f"{_WHOLE} from {least} to {greatest}"))


def _outcome(record: Mapping[str, Any]) -> int:
    words = ", ".join(_CODES)
    return _CODES[_field(record, "outcome", lambda value: isinstance(value, str) and value in _CODES, words)]


def _chosen(what: str, wanted: str | None, found: Iterable[str]) -> str:
    names = list(found)
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is not None and wanted in names:
        return wanted
    if not names:
        raise UsageError(f"{what}: no record is of a candidate; expected audit records of a rollout under way")
    listed = ", ".join(f"`{name}`" for name in names)
    asked = "nothing is given" if wanted is None else f"there is none named `{wanted}`"
    raise UsageError(f"{what}: {asked}; expected one of {listed}")


def _firsts(read: list[_Record], window_ms: int) -> NDArray[np.bool_]:
    """Which requests are evidence: bool, one for each record; none of revisions under which nothing is split."""
    if any(each.unit is not None and each.bucket is None for each in read):
        raise UsageError(
            "`bucket` is missing: units have many requests here, and which of them moved to the candidate is told by "
            "their buckets; expected it in each record that has a unit"
        )
    split = {each.revision for each in read if each.concerns()}
    rows = np.array([each.revision in split for each in read])
    during = [each for each in read if each.revision in split]
    columns = UnitColumns(
        units=[each.unit for each in during],
        times=np.array([each.time for each in during], np.int64),
        revisions=np.array([each.revision for each in during], np.int64),
        rules=np.array([each.rule for each in during], np.int64),
        buckets=np.array([NO_BUCKET if each.bucket is None else each.bucket for each in during], np.int64),
        candidate=np.array([each.arm != CONTROL for each in during]),
    )
    firsts = np.zeros(len(read), np.bool_)
    firsts[rows] = first_requests(columns, window_ms)
    return firsts


def _columns(read: list[_Record], arm: str) -> PastRequests:
    codes = {CONTROL: 0, arm: 1}
    mirrored = [(row, each) for row, record in enumerate(read) for each in record.mirrored if each.arm == arm]
    scores = np.array([each.score for each in read], np.float64)
    return PastRequests(
        arm_names=(CONTROL, arm),
        times=np.array([each.time for each in read], np.int64),
        revisions=np.array([each.revision for each in read], np.int64),
        routing=Routing(
            units=ByteStrings.of([each.unit for each in read]),
            buckets=np.zeros(len(read), np.int16),
            rules=np.array([each.rule for each in read], np.int16),
            arms=np.array([codes[each.arm] for each in read], np.int8),
        ),
        predictions=Predictions(
            served_by=np.array([codes.get(each.served_by or "", NOBODY) for each in read], np.int8),
            outcomes=np.array([each.outcome for each in read], np.int8),
            micros=np.array([each.micros for each in read], np.int64),
            outputs={},
            reasons={},
            mirrored={1: _reflection(mirrored)} if mirrored else None,
        ),
        scores=None if np.isnan(scores).all() else scores,
    )


def _reflection(mirrored: list[tuple[int, _Mirrored]]) -> Reflection:
    return Reflection(
        rows=np.array([row for row, _ in mirrored], np.int64),
        outcomes=np.array([each.outcome for _, each in mirrored], np.int8),
        micros=np.array([each.micros for _, each in mirrored], np.int64),
        agrees=np.full(len(mirrored), UNKNOWN, np.int8),
        scores=np.array([each.score for _, each in mirrored], np.float64),
    )

"""Judging requests of the past, in a notebook: the judge itself over summaries that are made of columns."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from streamsplit.core.audit_lines import read_audit
from streamsplit.core.counting import window_ms
from streamsplit.core.decision import Decision, DecisionKind
from streamsplit.core.errors import UsageError
from streamsplit.core.findings import Findings
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.judge import Judge
from streamsplit.core.past_requests import PastRequests, of_arrays
from streamsplit.core.past_summaries import PastSummaries
from streamsplit.core.past_verdict import Judged
from streamsplit.core.quantities import QuantityError, percent
from streamsplit.core.rollout import WHOLE, Arm, Mirror, Phase, Rollout, Rule, State, Step, Unit, UnitKind
from streamsplit.core.rollout_judge import read_judge
from streamsplit.core.summary import Probe


def judge_arrays(
    arms: ArrayLike,
    times: ArrayLike,
    *,
    errors: ArrayLike | None = None,
    scores: ArrayLike | None = None,
    micros: ArrayLike | None = None,
    rules: ArrayLike | None = None,
    revisions: ArrayLike | None = None,
    probes: Sequence[Probe] = (),
    judge: Mapping[str, Any] | None = None,
    weight: float | str | None = None,
    control: str = "control",
    name: str = "past",
) -> Judged:
    """Judge columns, by the guards that judge live rollouts.

    A row is a request that one arm was given, by chance: rows must not hang together. Of users who always meet the same
    arm hand in the first request of each alone. A guard whose column is missing is shown and decides nothing: `errors`,
    `runs` and their limits need `errors`, `speed`, `tails` and the limit on latency need `probes`.

    Every window counts: unlike live, where the first one after a change is the models' warm-up. There is no `capacity`:
    columns are a sample, and do not tell at what rate requests would come.

    Args:
        arms: (m,) names of arms: control's and that of one candidate.
        times: int64 (m,), milliseconds since the epoch, or datetime64; in any order.
        errors: bool (m,), where the arm itself did not answer correctly.
        scores: float64 (m,), the number that the guards `score` and `shift` look at; NaN: the arm gave none.
        micros: (m,), time of the request's run in microseconds, for the limit on latency.
        rules: int (m,), what requests were routed by: rows with different shares must have different numbers. -1 is
            the default route, that of rows without a number.
        revisions: int (m,), what they were served under: when the share changed the number must rise.
        probes: Runs of the same rows through both arms; `start` is the time of each.
        judge: The part `judge` of a rollout file, such as `{"window": "1h", "guards": {"score": {...}}}`.
        weight: The candidate's share of the default route in percent; given, the split is checked.
        control: Name of control.
        name: Of the rollout, which the shuffle of scores depends on.

    Returns:
        Readings, the evidence by window, and what the judge would have done.

    Raises:
        UsageError: A column or a setting is not what was expected; the message names it.
    """
    if errors is None and scores is None and not probes:
        raise UsageError("there is nothing to judge; expected `errors`, `scores` or `probes`")
    settings = _settings(judge)
    requests = of_arrays(
        arms,
        times,
        errors=errors,
        scores=scores,
        micros=micros,
        rules=rules,
        revisions=revisions,
        control=control,
    )
    _check_scores(settings, requests)
    settings = replace(
        settings,
        errors=replace(settings.errors, dry_run=settings.errors.dry_run or errors is None),
        latency=replace(settings.latency, dry_run=settings.latency.dry_run or not probes),
    )
    points = _points(weight)
    requests = requests if points else requests.without_default()
    rollout = _rollout(name, requests, settings, points)
    return _judged(rollout, requests, [_probe(each, requests.arm_names[1]) for each in probes], warm=True)


def judge_audit(
    records: Iterable[str | bytes | Mapping[str, Any]],
    *,
    judge: Mapping[str, Any] | None = None,
    rollout: str | None = None,
    candidate: str | None = None,
) -> Judged:
    """Judge recorded audit records, by the guards that judge live rollouts.

    What audit does not tell is not judged: run times of rows in different batches cannot be compared (`speed` and
    `tails`), nor is known what requests would cost (`capacity`) and which rows fell together by a crash, so each counts
    as an error of its own. Steps are not told apart, and evidence for the candidate is that of the whole recording.
    Where a unit has many requests, its first one in each stay is evidence, as live (`past_units.py`): record from the
    beginning of the rollout on.

    Args:
        records: Lines of JSON, such as an open file, or mappings; fields as in `schemas/audit.avsc`, in any order.
            Unions may be wrapped as Avro's JSON has them (`{"double": 0.5}`).
        judge: As in `judge_arrays`.
        rollout: Name of the rollout; needed where there are several.
        candidate: Its name; needed where there are several.

    Returns:
        As `judge_arrays`.

    Raises:
        UsageError: A record or a setting is not what was expected; the message names the line and the field.
    """
    settings = _settings(judge)
    audit = read_audit(records, rollout, candidate, window_ms(settings))
    _check_scores(settings, audit.requests)
    settings = replace(settings, latency=replace(settings.latency, dry_run=True))
    requests = audit.requests.without_default()
    found = _rollout(audit.rollout, requests, settings, None)
    unit = Unit(UnitKind.ID if audit.requests.firsts is None else UnitKind.KEY)
    return _judged(replace(found, unit=unit), requests, [], warm=False)


def _settings(judge: Mapping[str, Any] | None) -> JudgeSettings:
    found = Findings()
    settings = read_judge(found, {} if judge is None else judge)
    if found:
        raise UsageError("; ".join(map(str, found.all())))
    return settings


def _check_scores(settings: JudgeSettings, requests: PastRequests) -> None:
    asked = settings.score is not None or settings.shift is not None
    if asked and requests.scores is None:
        raise UsageError("scores: nothing is given, and `judge` has a guard that looks at them; expected a column")
    if not asked and requests.scores is not None and not np.isnan(requests.scores).all():
        raise UsageError(
            "scores: no guard looks at them; expected one in `judge`, such as"
            ' `{"guards": {"score": {"output": "probability", "range": [0, 1], "margin": "5%"}}}`'
        )


def _probe(probe: Probe, arm: str) -> Probe:
    """A probe of the candidate, in plain numbers."""
    numbers = [probe.start, probe.rows, probe.control_micros, probe.candidate_micros]
    if any(number != int(number) for number in numbers) or probe.rows < 1 or min(numbers[2:]) < 0:
        raise UsageError(
            f"probes: got {probe}; expected whole numbers, at least one row, and times from 0 microseconds"
        )
    start, rows, control, candidate = map(int, numbers)
    return replace(probe, arm=arm, start=start, rows=rows, control_micros=control, candidate_micros=candidate)


def _points(weight: float | str | None) -> int | None:
    if weight is None:
        return None
    try:
        points = percent(weight)
    except QuantityError as error:
        raise UsageError(f"weight: {error}") from error
    if not 0 < points < WHOLE:
        raise UsageError("weight: it leaves one of the arms nothing; expected a percentage above 0 and below 100")
    return points


def _rollout(name: str, requests: PastRequests, settings: JudgeSettings, points: int | None) -> Rollout:
    """A rollout of one step, which evidence alone ends; its split is checked where the candidate's share is given."""
    shadow = not requests.routing.arms.any()
    if points is None:
        points = 0 if shadow else WHOLE // 2
    rules = int(requests.routing.rules.max(initial=-1)) + 1
    return Rollout(
        name=name,
        salt=name,
        arms=tuple(Arm(each, ()) for each in requests.arm_names),
        unit=Unit(UnitKind.ID),
        rules=(Rule({}, (0,)),) * rules,
        steps=(Step(weights=(points,), mirror=Mirror((WHOLE,)) if requests.predictions.mirrored else None),),
        judge=settings,
    )


def _judged(rollout: Rollout, requests: PastRequests, probes: Sequence[Probe], *, warm: bool) -> Judged:
    if not len(requests):
        raise UsageError("there are no requests; expected at least one of each arm")
    past = PastSummaries(rollout, requests, probes)
    judge, revision = Judge(live=False), -1
    state = State(
        phase=Phase.PROGRESSING,
        rollout=rollout,
        apply_revision=int(requests.revisions.min()),
        step=0,
        weights=rollout.steps[0].weights,
        stay=int(requests.revisions.min()),
    )
    decisions: list[Decision] = []
    for offset, summary in enumerate((*past.earlier(), *past.summaries()) if warm else past.summaries()):
        revision = max(revision, summary.revision)
        state = replace(state, revision=revision)
        decisions += judge.take(replace(summary, sequence=offset), offset, state, revision + 1)
    told = tuple(each for each in decisions if each.window_start >= past.begin)
    # Where every test for the candidate is a dry run, nobody has looked: that is no promotion.
    looked = any(each.log_e_good is not None and not each.dry_run for each in told[-1].readings)
    kinds = {DecisionKind.ROLLBACK, DecisionKind.PROMOTE} if looked else {DecisionKind.ROLLBACK}
    ended = [each for each in told if each.kind in kinds and each.command]
    return Judged(
        decided=ended[0] if ended else None,
        readings=told[-1].readings,
        windows=tuple(each.windows[-1] for each in told if each.window_end > each.window_start),
        log_needed=-math.log(rollout.judge.alpha),
        decisions=told,
    )

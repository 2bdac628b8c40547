"""From what the guards say to what is to become of the rollout (docs/judging.md has the proofs).

A rollback needs the mean of all e-values against the candidates to reach 1/alpha: a mean of e-processes is one, so
the chance that a healthy rollout is ever taken back by them is at most alpha, however often and whenever it is looked
at. Going on needs every test for every candidate to reach candidates/alpha. A rollback wins over everything.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamsplit.core.decision import DecisionKind, Reading, Verdict
from streamsplit.core.guards import Inconclusive, JudgeSettings
from streamsplit.core.judging.guard import Needs, Process, Promise, Source
from streamsplit.core.judging.steps import StepProgress, knows_all, sources, waits_for_evidence
from streamsplit.core.judging.words import UNITS, e_value, known_reason, memory_reasons, process_reason, promise_reason
from streamsplit.core.quantities import duration_text, moment_text
from streamsplit.core.ramp import following
from streamsplit.core.rollout import Phase, State

ADVANCE, PROMOTE, ABORT = "advance", "promote", "abort"


@dataclass(frozen=True, slots=True)
class Testimony:
    """What is known of one candidate.

    Attributes:
        arm: Its name.
        processes: Against it.
        promises: For it.
        readings: Of all its guards.
        exceeded: Names of the limits that it surely exceeds.
    """

    arm: str
    processes: tuple[Process, ...]
    promises: tuple[Promise, ...]
    readings: tuple[Reading, ...]
    exceeded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is judged.

    Attributes:
        state: The rollout's state.
        progress: Of its step.
        window_end: End of the window that has closed, milliseconds since the epoch.
        log_time: By the workers' clocks.
        begun: Log time at which the first step began.
        pending: A command that was decided and that no worker serves under yet; empty for none.
        control: Readings of control by itself.
    """

    state: State
    progress: StepProgress
    window_end: int
    log_time: int
    begun: int
    pending: str = ""
    control: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is to become of the rollout.

    Attributes:
        kind: In a word.
        reasons: Why, the weightiest first.
        command: That carries it out; empty for none.
    """

    kind: DecisionKind
    reasons: tuple[str, ...]
    command: str = ""


def mean_log_e(testimonies: Sequence[Testimony]) -> float:
    """Logarithm of the mean of all e-values that decide; 0 without any."""
    return _mean_log_e([process.log_e for each in testimonies for process in each.processes if not process.dry_run])


def _mean_log_e(log_es: Sequence[float]) -> float:
    peak = max(log_es, default=0.0)
    if not log_es or peak == -math.inf:
        return peak
    return peak + math.log(math.fsum([math.exp(each - peak) for each in log_es]) / len(log_es))


def _deciding(testimonies: Sequence[Testimony]) -> list[tuple[Testimony, Process]]:
    return [(each, process) for each in testimonies for process in each.processes if not process.dry_run]


def by_limits(testimonies: Sequence[Testimony]) -> Ruling | None:
    """What limits alone demand, which need not wait for a window to close."""
    reasons = tuple(
        process_reason(reading) for each in testimonies for reading in each.readings if reading.guard in each.exceeded
    )
    return Ruling(DecisionKind.ROLLBACK, reasons, ABORT) if reasons else None


def by_window(settings: JudgeSettings, moment: Moment, testimonies: Sequence[Testimony], needs: Needs) -> Ruling:
    """What a closed window leads to, and at the end of the reasons what is worth knowing beside it.

    Args:
        settings: Of the judge.
        moment: When.
        testimonies: Of all candidates.
        needs: What e-values must reach.
    """
    ruling = _by_window(settings, moment, testimonies, needs)
    return replace(ruling, reasons=(*ruling.reasons, *_told(testimonies)))


def _told(testimonies: Sequence[Testimony]) -> list[str]:
    """What guards have to say that decides nothing: it is shown only, or would hold but for a dry run."""
    readings = [reading for each in testimonies for reading in each.readings]
    held = [f"{process_reason(each)}; a dry run" for each in readings if each.verdict is Verdict.HELD and each.dry_run]
    return [*(process_reason(each) for each in readings if each.verdict is Verdict.SHOWN), *held]


def _by_window(settings: JudgeSettings, moment: Moment, testimonies: Sequence[Testimony], needs: Needs) -> Ruling:
    against = by_limits(testimonies) or _by_comparison(settings, testimonies)
    if against is not None:
        return _once(against, moment)
    readings = (*moment.control, *(reading for each in testimonies for reading in each.readings))
    held = [process_reason(each) for each in readings if each.verdict is Verdict.HELD and not each.dry_run]
    if moment.state.phase is not Phase.PROGRESSING:
        return Ruling(DecisionKind.HOLD, (*held, _paused(moment.state)))
    missing = [*held, *_too_few(settings, testimonies), *_missing(moment, testimonies, needs)]
    if not missing:
        return _once(_onwards(moment), moment)
    return _at_deadline(settings, moment, missing) or Ruling(DecisionKind.HOLD, tuple(missing))


def by_silence(settings: JudgeSettings, moment: Moment, since: int) -> Ruling:
    """What follows where nothing is counted any more: nothing goes on, and the deadline passes all the same.

    Args:
        settings: Of the judge.
        moment: When.
        since: Log time at which something was last counted, milliseconds since the epoch.
    """
    quiet = f"no requests since {moment_text(since)}, {duration_text((moment.log_time - since) / 1000)} ago"
    if moment.state.phase is not Phase.PROGRESSING:
        return Ruling(DecisionKind.HOLD, (quiet, _paused(moment.state)))
    return _at_deadline(settings, moment, [quiet]) or Ruling(DecisionKind.HOLD, (quiet,))


def _by_comparison(settings: JudgeSettings, testimonies: Sequence[Testimony]) -> Ruling | None:
    """What comparisons demand; a process of which a person would not believe it yet adds nothing to the mean."""
    deciding = _deciding(testimonies)
    mean = _mean_log_e([process.log_e if process.enough else -math.inf for _, process in deciding])
    if not deciding or mean < -math.log(settings.alpha):
        return None
    testimony, process = max((each for each in deciding if each[1].enough), key=lambda each: each[1].log_e)
    reading = next(each for each in testimony.readings if each.guard == process.guard)
    mean_text = f"mean e-value {e_value(mean)}, {1 / settings.alpha:g} needed"
    return Ruling(DecisionKind.ROLLBACK, (f"{process_reason(reading)}; {mean_text}",), ABORT)


def _too_few(settings: JudgeSettings, testimonies: Sequence[Testimony]) -> list[str]:
    """What would take the candidate back, but for how little has happened: no reason to go on either."""
    if mean_log_e(testimonies) < -math.log(settings.alpha):
        return []
    return [
        f"{process_reason(reading)}; too few to take it back for"
        for testimony, process in _deciding(testimonies)
        for reading in testimony.readings
        if not process.enough and reading.guard == process.guard
    ]


def _once(ruling: Ruling, moment: Moment) -> Ruling:
    """A command is given once, and none after an abort; then the judge waits until workers serve under what it made."""
    if not ruling.command or moment.pending not in {ruling.command, ABORT}:
        return ruling
    rollout = moment.state.rollout
    if rollout is not None and rollout.mode == "advise":
        why = ruling.reasons if ruling.command == moment.pending else ()
        return Ruling(DecisionKind.HOLD, (f"{moment.pending} is advised; nobody has asked for it yet", *why))
    return Ruling(DecisionKind.HOLD, (f"{moment.pending} is decided; no worker serves under it yet",))


def _paused(state: State) -> str:
    if state.by_hand:
        return "paused: the weights were set by hand; `streamsplit resume` goes on with the ramp"
    rollout = state.rollout
    if rollout is not None and rollout.steps[state.step].pause:
        return "paused: the step waits for a person; `streamsplit promote` goes on"
    return "paused; `streamsplit resume` goes on"


def _missing(moment: Moment, testimonies: Sequence[Testimony], needs: Needs) -> list[str]:
    """What the step still waits for."""
    state = moment.state
    assert state.rollout is not None
    step = state.rollout.steps[state.step]
    missing: list[str] = []
    left = moment.progress.left(step, moment.window_end, moment.log_time)
    if left > 0:
        missing.append(f"bake time: {left:.0f} s of {step.bake_seconds:g} s left")
    if moment.progress.requests < step.requests:
        missing.append(f"sample: {moment.progress.requests:,} of {step.requests:,} candidate requests")
    if not moment.progress.requests and any(state.weights):
        missing.append("no candidate requests at this step yet")
    if waits_for_evidence(state):
        missing += _unproven(state, testimonies, needs)
    return missing


def _unproven(state: State, testimonies: Sequence[Testimony], needs: Needs) -> list[str]:
    """What evidence is missing for the candidates, and why it may not come."""
    missing = [
        promise_reason(reading)
        for testimony in testimonies
        for promise in _open(testimony, sources(state, testimony.arm), needs)
        for reading in testimony.readings
        if promise.guard == reading.guard
    ]
    if missing:
        readings = [reading for each in testimonies for reading in each.readings if reading.guard == UNITS]
        missing += dict.fromkeys(reason for reading in readings for reason in memory_reasons(reading))
    known = [each for each in testimonies if each.promises and knows_all(state, each.arm)]
    return missing + [known_reason(each.arm, state.exposed or 0) for each in known if _waits_in_vain(state, each)]


def _waits_in_vain(state: State, testimony: Testimony) -> bool:
    """Whether some test for a candidate gets nothing to live on, of those that units which move would feed."""
    own = any(not each.dry_run and each.source is Source.OWN for each in testimony.promises)
    return own and Source.MIRRORED not in sources(state, testimony.arm)


def _open(testimony: Testimony, there: frozenset[Source], needs: Needs) -> list[Promise]:
    return [
        each for each in testimony.promises if not each.dry_run and each.source in there and each.log_e < needs.promise
    ]


def _onwards(moment: Moment) -> Ruling:
    state, rollout = moment.state, moment.state.rollout
    assert rollout is not None
    why = f"step {state.step + 1} of {len(rollout.steps)}: {moment.progress.requests:,} candidate requests"
    by_evidence = waits_for_evidence(state)
    why += ", every guard says it is good enough" if by_evidence else ", bake time and sample reached, no guard objects"
    if following(state) is not None:
        return Ruling(DecisionKind.ADVANCE, (why,), ADVANCE)
    if len(rollout.arms) > 2:  # noqa: PLR2004 - control and one candidate
        which = "which of several candidates to promote is a person's choice"
        ways = " or ".join(f"`streamsplit promote --full --arm {arm.name}`" for arm in rollout.arms[1:])
        return Ruling(DecisionKind.HOLD, (f"{why}; {which}: {ways}",))
    if not any(state.weights):
        alone = (
            "the default route has given it nothing yet; whether it takes over all of it is a person's choice: "
            "`streamsplit promote --full`"
        )
        return Ruling(DecisionKind.HOLD, (f"{why}; {alone}",))
    return Ruling(DecisionKind.PROMOTE, (why,), PROMOTE)


def is_late(settings: JudgeSettings, moment: Moment) -> bool:
    """Whether the deadline has passed."""
    deadline = settings.deadline_seconds
    return deadline is not None and moment.log_time - moment.begun >= 1000 * deadline


def _at_deadline(settings: JudgeSettings, moment: Moment, missing: list[str]) -> Ruling | None:
    if not is_late(settings, moment):
        return None
    reasons = (f"inconclusive: the deadline of {settings.deadline_seconds:g} s has passed", *missing)
    if settings.on_inconclusive is Inconclusive.ROLLBACK:
        return _once(Ruling(DecisionKind.ROLLBACK, reasons, ABORT), moment)
    return Ruling(DecisionKind.HOLD, reasons)

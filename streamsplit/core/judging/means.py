"""What people are shown of a mean beside control's, whichever way the two were compared."""

from collections.abc import Iterable, Mapping, Sequence

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.judging.guard import Needs, Process, Promise


def readings_of_means(
    arm: str,
    needs: Needs,
    processes: Sequence[Process],
    promises: Sequence[Promise],
    *,
    control: float | None,
    candidate: float | None,
    held: bool,
    counts: Iterable[Mapping[str, float]],
) -> tuple[Reading, ...]:
    """A reading for each direction.

    Args:
        arm: Name of the candidate.
        needs: What e-values must reach.
        processes: One for each direction.
        promises: One for each direction.
        control: Control's mean; None for none.
        candidate: The candidate's; None for none.
        held: Whether the guard's settings say nothing about what came.
        counts: For each direction what was counted.
    """
    effect = candidate / control if control and candidate is not None else None
    found = []
    for process, promise, counted in zip(processes, promises, counts, strict=True):
        verdict = needs.verdict(process.log_e, promise.log_e)
        found.append(
            Reading(
                guard=process.guard,
                arm=arm,
                verdict=Verdict.HELD if held and verdict is not Verdict.BAD else verdict,
                control=control,
                candidate=candidate,
                unit="",
                effect=effect,
                log_e=process.log_e,
                log_needed=needs.alone,
                log_e_good=promise.log_e,
                log_needed_good=needs.promise,
                counts=counted,
                dry_run=process.dry_run,
            )
        )
    return tuple(found)

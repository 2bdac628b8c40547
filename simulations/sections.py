"""What is simulated, section by section, and whether it is as promised."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from simulations import jobs
from simulations.bounds import allowed, surely_above
from simulations.faults import FAULTS, Fault
from simulations.jobs import Job
from simulations.nulls import ALPHA, CASES, Case
from simulations.peeking import PUBLISHED, inflation
from simulations.power import KAYENTA, NEARNESS, PEEKING, SEARCHES, nearness
from simulations.ramp import OUTCOMES, RAMPS, outcomes
from simulations.sheet import Sheet, share

_NEAR = 1e-3
_SEARCH_RUNS = 2000


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        seed: Another one gives other random numbers.
        part: Of the runs at full size, one in so many.
        processes: How many at once; None: one a core.
    """

    seed: int = 0
    part: int = 1
    processes: int | None = None

    def runs(self, full: int) -> int:
        """So many in place of `full`."""
        return max(1, full // self.part)

    def run(self, what: list[Job]) -> list[NDArray[np.float64]]:
        """Simulate."""
        return jobs.run(what, seed=self.seed, processes=self.processes)


def peeking(_: Size) -> Sheet:
    """The published inflation of a peeked z-test, by numerical integration."""
    found = inflation(list(PUBLISHED))
    return Sheet(
        "A two-sided z-test at 5 %, looked at again and again",
        "Chance that it has fired at one of so many looks although nothing is wrong, by numerical integration.",
        ["looks", "computed", "published"],
        [[f"{looks}", f"{found[looks]:.4f}", f"{PUBLISHED[looks]:.4f}"] for looks in PUBLISHED],
        0,
        [
            f"{looks} looks: {found[looks]:.4f}, published are {published:.4f}"
            for looks, published in PUBLISHED.items()
            if abs(found[looks] - published) > _NEAR
        ],
    )


def false_alarms(size: Size, cases: tuple[Case, ...] = CASES) -> Sheet:
    """Alarms where nothing is wrong."""
    results = size.run(
        [Job(f"{case.test}, {case.null}", partial(_alarms, case), size.runs(case.runs)) for case in cases]
    )
    lines, failed = [], []
    for case, result in zip(cases, results, strict=True):
        alarms, runs = int(result.sum()), len(result)
        most = allowed(runs, case.alpha)
        if not case.baseline and alarms > most:
            failed.append(f"{case.test}, {case.null}: {alarms} of {runs} alarm, {most} are explained by chance")
        verdict = "for comparison" if case.baseline else ("too many" if alarms > most else "as promised")
        shape, rate = f"{runs} x {case.windows}", share(alarms, runs)
        lines.append([case.test, case.null, verdict, f"{case.alpha:g}", shape, f"{alarms}", rate, f"{most}"])
    return Sheet(
        "False alarms where nothing is wrong",
        "Looked at in each window; rates, shares and rules change. Allowed: the most that chance explains, but for 1 in"
        " 10 000. At the edge: the candidate is exactly as bad as is tolerated (for a promotion: as is not).",
        ["test", "null hypothesis", "verdict", "alpha", "runs x windows", "alarms", "rate", "allowed"],
        lines,
        3,
        failed,
    )


def faults(size: Size) -> Sheet:
    """The same check with something broken on purpose."""
    what = [
        # not fewer than it takes to see the fault
        Job(f"{fault.name}, {wrong}", partial(_faulty, fault, wrong=wrong), max(fault.few, size.runs(fault.runs)))
        for fault in FAULTS
        for wrong in (False, True)
    ]
    results = size.run(what)
    lines, failed = [], []
    for fault, sound, broken in zip(FAULTS, results[::2], results[1::2], strict=True):
        most = allowed(len(sound), ALPHA)
        without, alarms = int(sound.sum()), int(broken.sum())
        if without > most:
            failed.append(f"{fault.name}: {without} of {len(sound)} alarm without the fault, allowed are {most}")
        if alarms <= most:
            failed.append(f"{fault.name}: only {alarms} of {len(broken)} alarm, the check would not have seen it")
        shares = [share(part, len(sound)) for part in (without, alarms, most)]
        lines.append([fault.name, "found" if alarms > most else "not found", *shares])
    return Sheet(
        "Faults put in on purpose",
        "Alarms between identical models, judged soundly and with the fault. The check works where the fault raises"
        " more than are allowed.",
        ["fault", "verdict", "without it", "with it", "allowed"],
        lines,
        2,
        failed,
    )


def power(size: Size) -> Sheet:
    """How soon what is wrong is found."""
    runs = size.runs(_SEARCH_RUNS)
    what = [Job(f"{search.what}, {search.unit}", search.found, runs) for search in SEARCHES]
    beside = {
        (search.what, name): Job(f"{search.what}, {name}", found, size.runs(_SEARCH_RUNS // 10))
        for search in SEARCHES
        for name, found in search.beside
    }
    results = size.run([*what, *beside.values()])
    compared = dict(zip(beside, results[len(what) :], strict=True))
    lines, failed = [], []
    for search, found in zip(SEARCHES, results, strict=False):
        mean = float(found.mean())
        if surely_above(found, search.most):
            failed.append(
                f"{search.what}: {mean:,.0f} {search.unit} on average, at most {search.most:,.0f} are promised"
            )
        names = dict(search.beside)
        others = [_used(compared[search.what, name]) if name in names else "" for name in (PEEKING, KAYENTA)]
        lines.append([search.what, search.unit, _used(found), f"{search.most:,.0f}", *others])
    return Sheet(
        "How soon what is wrong is found",
        "On average; share 10 %, windows of 1000 requests; errors with what is tolerated by default and the evidence"
        " that three tests share, where nothing else is said. The peeking test is soon because it also fires on what"
        " is healthy (above). Kayenta's rule looks at windows as points, every 10 of them, up to 150 000 requests.",
        ["what", "counted", "used", "at most", PEEKING, KAYENTA],
        lines,
        2,
        failed,
    )


def near(size: Size) -> Sheet:
    """How near the tests are to the least that is possible."""
    lines, failed = [], []
    for ratio, most in NEARNESS.items():
        generator = np.random.default_rng([size.seed, round(100 * ratio)])
        mixture, known, limit = nearness(generator, size.runs(_SEARCH_RUNS), ratio)
        if not mixture <= most * known:
            failed.append(f"x{ratio:g}: {mixture / known:.2f} times the requests of the test that knows the ratio")
        lines.append(
            [f"x{ratio:g}", f"{limit:,.0f}", f"{known:,.0f}", f"{mixture:,.0f}", f"{mixture / known:.2f}", f"{most:g}"]
        )
    return Sheet(
        "How near to the least possible",
        "Requests on average until errors of so many times control's are found (base 1 %, share 10 %, nothing"
        " tolerated, alpha 5 %): Wald's limit, the test that knows the ratio, ours, and ours over that.",
        ["ratio", "limit", "ratio known", "ours", "times", "at most"],
        lines,
        1,
        failed,
    )


def ramps(size: Size) -> Sheet:
    """What becomes of whole rollouts."""
    results = size.run([Job(ramp.name, partial(outcomes, ramp.world), size.runs(ramp.runs)) for ramp in RAMPS])
    lines, failed = [], []
    for ramp, result in zip(RAMPS, results, strict=True):
        runs, ended = len(result), result[:, 0]
        counts = [int((ended == place).sum()) for place in (*range(len(OUTCOMES)), -1)]
        strays, most = runs - counts[OUTCOMES.index(ramp.phase)], math.ceil(ramp.strays * runs)
        if strays > most:
            failed.append(f"{ramp.name}: {strays} of {runs} were not {ramp.phase}, at most {most} may be")
        used = [f"{column.mean():,.0f}" for column in result.T[1:]]
        lines.append([ramp.name, "as promised" if strays <= most else "not so", f"{runs}", *map(str, counts), *used])
    return Sheet(
        "Whole rollouts",
        "10/25/75/100 % with the judge's defaults, 1000 requests a second, 1 % errors of control: what becomes of them,"
        " and the requests until then, on average.",
        ["candidate", "verdict", "runs", "promoted", "taken back", "neither", "requests", "candidate's"],
        lines,
        2,
        failed,
    )


SECTIONS: Mapping[str, Callable[[Size], Sheet]] = MappingProxyType(
    {
        "peeking": peeking,
        "false-alarms": false_alarms,
        "faults": faults,
        "power": power,
        "nearness": near,
        "ramps": ramps,
    }
)


def _alarms(case: Case, generator: np.random.Generator, runs: int) -> NDArray[np.bool_]:
    return case.alarms(generator, runs, case.windows)


def _faulty(fault: Fault, generator: np.random.Generator, runs: int, *, wrong: bool) -> NDArray[np.bool_]:
    return fault.alarms(generator, runs, fault.windows, wrong=wrong)


def _used(found: NDArray[np.float64]) -> str:
    """The mean; where not all found it, of those that did, and how many those are."""
    some = found[np.isfinite(found)]
    if not len(some):
        return "not found"
    return f"{some.mean():,.0f}" + ("" if len(some) == len(found) else f" ({share(len(some), len(found))} of runs)")

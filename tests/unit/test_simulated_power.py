"""How soon what is wrong is found, by simulation, and what other rules do on the same counts."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from simulations import baselines, jobs
from simulations.baselines import kayenta_high
from simulations.bounds import surely_above
from simulations.power import NEARNESS, SEARCHES, Search, late_found, nearness, wald
from simulations.run import main
from simulations.sections import Size, faults, peeking, power
from simulations.sequences import shift_alarms, split_alarms
from simulations.traffic import Doses


@pytest.mark.parametrize("search", SEARCHES, ids=[f"{search.what}, {search.unit}" for search in SEARCHES])
def test_what_is_wrong_is_found_with_so_many_requests_on_average(search: Search) -> None:
    assert not surely_above(search.found(np.random.default_rng(3), 200), search.most)


@pytest.mark.parametrize(("ratio", "limit"), [(1.5, 31_200), (2.0, 8_870), (5.0, 900)])
def test_the_least_possible_is_walds_limit(ratio: float, limit: float) -> None:
    assert wald(ratio, base=0.01, share=0.1) == pytest.approx(limit, rel=0.003)


@pytest.mark.parametrize("ratio", NEARNESS)
def test_not_knowing_the_ratio_costs_little(ratio: float) -> None:
    ours, known, limit = nearness(np.random.default_rng(4), 400, ratio)
    assert ours <= NEARNESS[ratio] * known
    assert known >= limit, "nothing can be sooner"


def test_a_mean_that_is_too_large_is_told_from_chance() -> None:
    generator = np.random.default_rng(9)
    assert surely_above(generator.normal(110, 20, 200), 100)
    assert not surely_above(generator.normal(101, 20, 200), 100)
    assert surely_above(np.array([1.0, np.inf]), 100), "a run that found nothing"


def test_restarts_find_what_begins_late_in_less_than_half_of_the_time() -> None:
    with_them, without = (
        late_found(np.random.default_rng(10), 60, begin=300, restarts=restarts) for restarts in (True, False)
    )
    assert with_them.mean() < without.mean() / 2


def test_lost_records_and_a_large_shift_of_predictions_are_found() -> None:
    generator = np.random.default_rng(5)
    assert split_alarms(generator, 10, 90, lost=0.1).all()
    assert shift_alarms(generator, 5, 30, limit=0.25, moved=0.8).all()


def test_kayentas_statistic_is_that_of_mann_and_whitney() -> None:
    generator = np.random.default_rng(6)
    x, y = generator.poisson(5, 30) / 10, generator.poisson(4, 40) / 10
    published = mannwhitneyu(x, y, alternative="greater", method="asymptotic").pvalue
    assert norm.sf(baselines._standardised(x, y)) == pytest.approx(published, rel=1e-9)


POINTS = np.random.default_rng(7).normal(10, 1, 40)


@pytest.mark.parametrize(
    ("control", "candidate", "high"),
    [
        (POINTS, POINTS + 3, True),
        (POINTS, POINTS - 3, False),
        (POINTS, np.random.default_rng(8).normal(10, 1, 40), False),
        (POINTS, POINTS[::-1], False),
        (POINTS, np.full(40, np.nan), False),
        (np.zeros(40), np.zeros(40), False),
        (POINTS[:1], POINTS[1:2] + 9, False),
    ],
    ids=["higher", "lower", "alike", "equal points", "no data", "one value", "too few points"],
)
def test_kayenta_calls_high_what_is_surely_higher(
    control: NDArray[np.float64], candidate: NDArray[np.float64], *, high: bool
) -> None:
    assert kayenta_high(control, candidate) is high


def test_a_single_wild_point_is_left_out_by_kayenta_only_beyond_the_99th_percentile() -> None:
    wild = np.concatenate((POINTS, [1e6]))
    assert baselines._kept(wild).max() < 100


def test_a_test_that_peeks_fires_once_the_rates_are_far_apart() -> None:
    def column(*values: int) -> NDArray[np.int64]:
        return np.array(values)[None, :, None]

    counts = Doses(column(900, 900), column(9, 9), column(100, 100), column(1, 9))
    assert baselines.peeking(counts).tolist() == [[False, True]]


def test_random_numbers_depend_on_the_name_alone_and_pieces_run_in_any_number_of_processes() -> None:
    def simulate(generator: np.random.Generator, runs: int) -> NDArray[np.float64]:
        return generator.random(runs)

    alone = jobs.run([jobs.Job("a", simulate, 450), jobs.Job("b", simulate, 10)], processes=1)
    other = jobs.run([jobs.Job("b", simulate, 10)], processes=1)
    assert [len(result) for result in alone] == [450, 10]
    assert alone[1].tolist() == other[0].tolist()
    split = jobs.run([jobs.Job("a", np.random.Generator.random, 450)], processes=2)
    assert split[0].tolist() == alone[0].tolist()


def test_the_sections_say_what_is_not_as_promised() -> None:
    small = Size(part=400, processes=1)
    assert not peeking(small).failed
    blind = faults(small)
    assert any("would not have seen it" in sentence for sentence in blind.failed), "five runs say nothing"
    assert "**" in blind.markdown()
    assert "| errors x2 at 1 % | requests |" in power(small).markdown()


def test_the_program_writes_its_tables_and_answers_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.md"
    assert main(["--only", "peeking", "--out", str(out)]) == 0
    assert "| 1000 | 0.5299 | 0.5299 |" in out.read_text(encoding="utf-8")
    assert "All as promised" in capsys.readouterr().out

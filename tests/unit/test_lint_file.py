"""Lint of a rollout file: every finding with its line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsplit.cli.lint_file import LARGEST_BYTES, Located, lint, locate, read_rollout_file
from streamsplit.core.errors import UsageError
from streamsplit.core.rollout_file import parse

GOOD = """\
rollout: delay-v2
arms:
  control: delay@1
  canary: [encode@1, delay@2]
unit: id
routes:
  - when: {carrier: [UA, "7"]}
    weights: {canary: 5}
steps:
  - weight: 10
  - pause
  - {weight: 1:2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rollout.yaml"


def linted(file: Path, text: str) -> tuple[Located, ...]:
    file.write_text(text, encoding="utf-8")
    return lint(file).findings


def test_a_good_file_has_no_finding(file: Path) -> None:
    assert linted(file, GOOD) == ()


def test_a_good_file_is_told_what_its_steps_take(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    assert [step.seconds is None for step in lint(file).steps] == [True, True, True]
    assert [step.seconds is None for step in lint(file, rate=50.0).steps] == [False, True, False]
    file.write_text(GOOD.replace("unit", "unti"), encoding="utf-8")
    assert lint(file).steps == ()


def test_a_file_is_read_as_yaml_1_2_and_every_place_has_its_line(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    text = read_rollout_file(file)
    assert isinstance(text.spec, dict)
    assert text.spec["steps"] == [{"weight": 10}, "pause", {"weight": "1:2"}]
    assert text.lines[("arms", "canary", 1)] == 4
    assert text.lines[("steps", 2, "weight")] == 12
    assert text.lines[("routes", 0, "when", "carrier", 1)] == 7


@pytest.mark.parametrize(
    ("change", "line", "field", "words"),
    [
        (("steps:", "stesp:"), 9, "stesp", "steps"),
        (("  control: delay@1", "  control: delay"), 3, "arms.control", "name@version"),
        (("[encode@1, delay@2]", "[encode@1, 2]"), 4, "arms.canary[1]", "name@version"),
        (("unit: id", "unit: no"), 5, "unit", "attributes.NAME"),
        (('"7"', "7"), 7, "routes[0].when.carrier[1]", "in quotes"),
        (("canary: 5", "canari: 5"), 8, "routes[0].weights.canari", "canary"),
        (("weight: 10", "weight: 0.001"), 10, "steps[0].weight", "0.01"),
        (("weight: 10", "weight: 10\n    holdback: 5"), 11, "steps[0].holdback", "95 %"),
        (("  - pause", "  - paused"), 11, "steps[1]", "`pause`"),
        (("  control: delay@1\n", ""), 2, "arms", "control"),
        (("rollout: delay-v2\n", ""), 1, "rollout", "letters"),
        (("unit:", "judge:\n  guards:\n    outcome: {}\nunit:"), 7, "judge.guards.outcome", "not built yet"),
    ],
)
def test_a_finding_names_line_field_and_cure(
    file: Path, change: tuple[str, str], line: int, field: str, words: str
) -> None:
    found = [finding for finding in linted(file, GOOD.replace(*change, 1)) if finding.field == field]
    assert [finding.line for finding in found] == [line]
    assert words in f"{found[0].message} {found[0].expected} {found[0].nearest}"
    assert not found[0].note


def test_the_nearest_word_is_named_by_itself(file: Path) -> None:
    (finding, *_) = [f for f in linted(file, GOOD.replace("steps:", "stesp:")) if f.field == "stesp"]
    assert finding.nearest == "steps"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "nothing is given"),
        ("rollout: [", 1, "no YAML"),
        ("rollout: a\n\tunit: id", 2, "no YAML"),
        ("rollout: a\nrollout: b", 2, "given twice, first on line 1"),
        ("rollout: a\narms:\n  canary: d@1\n  x: d@1\n  canary: d@2", 5, "given twice, first on line 3"),
        ("a: &x\n  b: *x", 1, "repeats itself"),
        ("a: *nobody", 1, "no YAML"),
        ("rollout: a\n--- \nrollout: b", 2, "no YAML"),
        ("rollout: !!python/object:os.system x", 1, "no YAML"),
        ("a: 1\n? [b]\n: 2", 2, "a key is a word"),
        ("rollout: a\nday: 2013-13-45", 2, "cannot be read"),
        ("rollout: " + "1" * 5000, 1, "cannot be read"),
        ("[" * 1000, 1, "nested too deeply"),
        ("rollout: \x01", 1, "no YAML"),
    ],
)
def test_text_that_cannot_be_read_is_located(file: Path, text: str, line: int, words: str) -> None:
    (finding,) = linted(file, text)
    assert finding.line == line
    assert words in finding.message


def test_aliases_may_repeat_but_not_explode(file: Path) -> None:
    shared = GOOD.replace("{canary: 5}", "&few {canary: 5}").replace("- weight: 10", "- weights: *few")
    assert linted(file, shared) == ()
    rows = "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    assert "repeats itself" in linted(file, f"a: &a [x]\n{rows}")[0].message


def test_findings_about_models_get_their_lines(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    text = read_rollout_file(file)
    found = parse(text.spec, {"delay@1": "0" * 64, "encode@1": "0" * 64})
    assert isinstance(found, tuple)
    assert [(finding.line, finding.field) for finding in locate(found, text)] == [(4, "arms.canary[1]")]


def test_what_a_writer_should_know_is_a_note(file: Path) -> None:
    found = linted(file, GOOD.replace("unit: id", "unit: key").replace("1:2", "100"))
    assert [(finding.line, finding.field, finding.note) for finding in found] == [
        (5, "unit", True),
        (12, "steps[2]", True),
    ]


def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.yaml: no such file"):
        lint(tmp_path / "nothing.yaml")
    with pytest.raises(UsageError, match="is a directory"):
        lint(tmp_path)


def test_a_file_that_is_no_text_or_too_large_is_refused(file: Path) -> None:
    file.write_bytes(b"rollout: a\nsalt: \xff")
    with pytest.raises(UsageError, match=r"line 2: this is no UTF-8"):
        lint(file)
    file.write_bytes(b"#" * (LARGEST_BYTES + 1))
    with pytest.raises(UsageError, match="at most 1000000"):
        lint(file)


def test_a_byte_order_mark_is_no_part_of_the_file(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert lint(file).findings == ()


@given(
    st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@, \n\t?10.~<"), max_size=40)
    | st.builds(lambda at, junk: GOOD[:at] + junk + GOOD[at:], st.integers(0, len(GOOD)), st.text(max_size=4))
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_linted_without_an_exception(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    for finding in lint(file).findings:
        assert 1 <= finding.line <= text.count("\n") + text.count("\r") + 2

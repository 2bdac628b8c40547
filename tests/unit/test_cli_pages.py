"""What every verb promises on its help page, and what wrong use gets."""

from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from streamsplit.cli.main import app

RUNNER = CliRunner()


def pages() -> Iterator[tuple[str, ...]]:
    """Every verb and group of verbs, as the words that reach it."""

    def below(group: object, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, command in getattr(group, "commands", {}).items():
            yield from below(command, (*words, name))

    yield from below(typer.main.get_command(app), ())


@pytest.mark.parametrize("words", list(pages()), ids=lambda words: " ".join(words) or "streamsplit")
def test_every_help_page_has_an_example(words: tuple[str, ...]) -> None:
    result = RUNNER.invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    behind = result.stdout.split("Example")[1]
    assert " ".join(("streamsplit", *words)) in " ".join(behind.split()).replace("-c prod.yaml ", "")


@pytest.mark.parametrize(
    "verb",
    ["dev", "run", "topics", "lint", "apply", "get", "status", "set", "promote", "pause", "resume", "abort",
     "accept-loss", "history", "explain", "verify", "models", "config", "doctor"],
)  # fmt: skip
def test_every_verb_of_the_contract_is_there(verb: str) -> None:
    assert (verb,) in set(pages())


DATA_VERBS = (
    "get,status,history,explain,verify,apply,topics create,topics check,models list,models check,doctor,config show,"
    "lint,abort,set weight,promote,pause,resume,accept-loss"
)


@pytest.mark.parametrize("verb", DATA_VERBS.split(","))
def test_every_verb_that_prints_data_has_json(verb: str) -> None:
    assert "<table|json>" in RUNNER.invoke(app, [*verb.split(), "--help"], env={"COLUMNS": "160"}).stdout


@pytest.mark.parametrize(
    ("words", "nearest"),
    [(["promot"], "promote"), (["statsu"], "status"), (["topics", "creat"], "create"), (["set", "wieght"], "weight"),
     (["get", "--wach"], "--watch")],
)  # fmt: skip
def test_a_wrong_word_is_wrong_use_and_names_the_nearest(words: list[str], nearest: str) -> None:
    result = RUNNER.invoke(app, words)
    assert result.exit_code == 2
    assert nearest in result.stderr


@pytest.mark.parametrize(
    "words",
    [["set", "weight"], ["set", "weight", "canary"], ["set", "weight", "=5"], ["accept-loss", "x", "--to", "5"],
     ["accept-loss", "1"], ["explain", "ab", "--latest", "2"], ["explain", "--latest", "0"],
     ["run", "--workers", "0"], ["get", "-o", "yaml"], ["lint"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use_is_exit_2_without_a_traceback(words: list[str]) -> None:
    result = RUNNER.invoke(app, words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_the_version_is_printed() -> None:
    result = RUNNER.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("streamsplit 0.")

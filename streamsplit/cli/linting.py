"""`lint`: what is wrong with a rollout file, with line, field, expectation and nearest word."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from streamsplit.cli.console import say, show, show_json
from streamsplit.cli.exits import NO
from streamsplit.cli.lint_file import Located, lint
from streamsplit.cli.options import Format, Output, example

verbs = typer.Typer()

RolloutFile = Annotated[Path, typer.Option("--file", "-f", help="The rollout file.", show_default=False)]


@verbs.command("lint", epilog=example("streamsplit lint -f rollout.yaml", "streamsplit lint -f rollout.yaml -o json"))
def lint_rollout(file: RolloutFile, output: Output = Format.TABLE) -> None:
    """Check a rollout file by itself, without broker or models. Exit 1 when something is wrong with it."""
    found = lint(file)
    wrong = [finding for finding in found if not finding.note]
    if output is Format.JSON:
        show_json({"ok": not wrong, "findings": [asdict(finding) for finding in found]})
    else:
        show(*sentences(file, found))
    if wrong:
        say(f"{file}: {len(wrong)} to mend.")
        raise typer.Exit(NO)
    say(f"{file}: nothing is wrong with it.")


def sentences(file: Path, found: Iterable[Located]) -> list[str]:
    """A line for each finding, as compilers write them."""
    return [f"{file}:{finding.line}: {'note: ' if finding.note else ''}{_sentence(finding)}" for finding in found]


def _sentence(finding: Located) -> str:
    sentence = f"{finding.field}: {finding.message}" if finding.field else finding.message
    if finding.expected:
        sentence += f"; expected {finding.expected}"
    return f"{sentence}; did you mean `{finding.nearest}`?" if finding.nearest else sentence

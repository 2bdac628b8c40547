"""`lint`: what is wrong with a rollout file, with line, field, expectation and nearest word."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from streamsplit.cli.console import say, show, show_json
from streamsplit.cli.exits import NO
from streamsplit.cli.forecast_view import (
    HEADING,
    alphas_json,
    besides,
    forecast_json,
    forecast_table,
    probes_json,
)
from streamsplit.cli.lint_file import Located, lint
from streamsplit.cli.options import Format, Output, example

verbs = typer.Typer()

RolloutFile = Annotated[Path, typer.Option("--file", "-f", help="The rollout file.", show_default=False)]


Rate = Annotated[
    float | None,
    typer.Option("--rate", min=0.001, max=1e9, help="Requests a second that follow the steps.", show_default=False),
]


@verbs.command(
    "lint",
    epilog=example(
        "streamsplit lint -f rollout.yaml",
        "streamsplit lint -f rollout.yaml --rate 50",
        "streamsplit lint -f rollout.yaml -o json",
    ),
)
def lint_rollout(file: RolloutFile, rate: Rate = None, output: Output = Format.TABLE) -> None:
    """Check a rollout file by itself, without broker or models, and say what its steps take. Exit 1: it is wrong."""
    linted = lint(file, rate)
    wrong = [finding for finding in linted.findings if not finding.note]
    if output is Format.JSON:
        found = [asdict(finding) for finding in linted.findings]
        show_json(
            {
                "ok": not wrong,
                "findings": found,
                "steps": forecast_json(linted.steps),
                "probes": probes_json(linted.probes),
                "alphas": alphas_json(linted.risk) if linted.risk is not None else None,
            }
        )
    else:
        show(*sentences(file, linted.findings))
        if linted.rollout is not None and linted.steps:
            show(HEADING, forecast_table(linted.rollout, linted.steps, rate))
            show(*besides(linted.probes, linted.risk))
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

"""`doctor`: what stands in the way, a line each with its cure."""

from dataclasses import asdict

import typer

from streamsplit.cli.checkup import checkup
from streamsplit.cli.console import plain_table, say, show, show_json
from streamsplit.cli.environment import environment
from streamsplit.cli.exits import NO
from streamsplit.cli.options import Format, Output, example

verbs = typer.Typer()


@verbs.command("doctor", epilog=example("streamsplit doctor", "streamsplit -c prod.yaml doctor -o json"))
def doctor(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """Look at everything a deployment stands on: broker, topics, rights, models, control log, clocks, workers.

    Changes nothing. Exit 1 when there is a problem.
    """
    lines = list(checkup(environment(ctx)))
    problems = [line for line in lines if not line.ok]
    if output is Format.JSON:
        show_json({"ok": not problems, "lines": [asdict(line) for line in lines]})
    else:
        table = plain_table("", "what", "found", "cure")
        for line in lines:
            table.add_row(
                "ok" if line.ok else "problem", line.what, line.found, line.cure, style=None if line.ok else "yellow"
            )
        show(table)
    if problems:
        say(f"{len(problems)} of {len(lines)} lines are problems.")
        raise typer.Exit(NO)
    say("Nothing stands in the way.")

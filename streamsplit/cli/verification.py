"""`verify`: the proof that nothing was lost, doubled or routed wrongly."""

import typer

from streamsplit.cli.console import say, show, show_json
from streamsplit.cli.environment import environment
from streamsplit.cli.exits import NO
from streamsplit.cli.options import Format, Output, example
from streamsplit.cli.report_view import render, verdict
from streamsplit.offline.judged import judge_again
from streamsplit.offline.reading import read
from streamsplit.offline.verification import verify as verify_columns

verbs = typer.Typer()


@verbs.command("verify", epilog=example("streamsplit verify", "streamsplit verify -o json | jq .shares"))
def verify(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """Derive every answer again from the recorded topics: nothing lost, nothing doubled, nothing routed wrongly.

    Speaks of the requests from the first audited one to the committed offset of each partition, less what retention
    has removed; and of the judge's decisions, which a replay of the control log and the summaries must decide again.
    Workers may go on meanwhile. Exit 1 when there is any fault, and when there is nothing to verify: nothing is proven
    then.
    """
    here = environment(ctx)
    reading = read(here.connection, here.topics, here.schemas)
    report = verify_columns(
        reading.recorded, reading.spans, reading.unread, judge_again(here.connection, here.topics, here.schemas)
    )
    if output is Format.JSON:
        show_json(report.to_json())
        say(verdict(report))
    else:
        show(*render(report))
    if report.empty or not report.sound:
        raise typer.Exit(NO)

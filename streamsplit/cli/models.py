"""`models list|check`: what lies in the models folder, and whether it may serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from streamsplit.cli.console import plain_table, say, show, show_json
from streamsplit.cli.environment import environment
from streamsplit.cli.exits import NO
from streamsplit.cli.options import Format, Output, example
from streamsplit.core.errors import UsageError
from streamsplit.core.records import TensorSpec
from streamsplit.core.rollout import Limits
from streamsplit.inference.repository import Listing, Repository

_PROVIDERS = ("CPUExecutionProvider",)
_RUN_ROWS = Limits().run_rows

verbs = typer.Typer()
_models = typer.Typer(
    help="Models in the models folder.",
    no_args_is_help=True,
    epilog=example("streamsplit models list", "streamsplit models check delay@2"),
)
verbs.add_typer(_models, name="models")


@_models.command("list", epilog=example("streamsplit models list", "streamsplit models list -o json"))
def list_models(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """List every model with what it takes and gives."""
    listings = Repository(environment(ctx).settings.models).list()
    if output is Format.JSON:
        show_json([_plain(listing) for listing in listings])
        return
    table = plain_table("model", "inputs", "outputs", "sha256", "description")
    for listing in listings:
        if listing.manifest is None:
            table.add_row(listing.label, "", "", "", f"refused: {listing.refusal}")
            continue
        manifest = listing.manifest
        table.add_row(
            listing.label,
            _tensors(manifest.signature.inputs),
            _tensors(manifest.signature.outputs),
            manifest.sha256[:12],
            manifest.description,
        )
    show(table)


@dataclass(frozen=True, slots=True)
class _Verdict:
    model: str
    refusal: str | None


@_models.command(
    "check", epilog=example("streamsplit models check", "streamsplit models check delay@2 'encode@1|delay@2'")
)
def check_models(
    ctx: typer.Context,
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME@VERSION]...", help="Models; all of them unless named.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Vet models as a worker would: digest, operators, external data, golden records. Exit 1 when one is refused."""
    repository = Repository(environment(ctx).settings.models)
    verdicts = [_vetted(repository, label) for label in labels or [listing.label for listing in repository.list()]]
    if output is Format.JSON:
        show_json(
            [{"model": verdict.model, "ok": not verdict.refusal, "reason": verdict.refusal} for verdict in verdicts]
        )
    else:
        for verdict in verdicts:
            show(f"{verdict.model}: {verdict.refusal or 'ok'}")
    if not verdicts:
        say(f"No model in {repository.root}: a model is a folder <name>/<version> with model.onnx and model.yaml.")
    if not verdicts or any(verdict.refusal for verdict in verdicts):
        raise typer.Exit(NO)


def _vetted(repository: Repository, label: str) -> _Verdict:
    # ONNX and its runtime take half a second to import: only the verb that needs them pays for it.
    from streamsplit.inference.graph import inspect_graph  # noqa: PLC0415 # as above
    from streamsplit.inference.session import Model  # noqa: PLC0415 # as above
    from streamsplit.inference.vetting import warm_up  # noqa: PLC0415 # as above

    try:
        manifest, raw = repository.fetch(repository.pin(label))
        inspect_graph(raw, label)
        warm_up(Model(manifest, raw, _PROVIDERS, threads=1), _RUN_ROWS)
    except UsageError as refusal:
        return _Verdict(label, str(refusal))
    return _Verdict(label, None)


def _tensors(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype}{list(spec.shape)}" for spec in specs)


def _plain(listing: Listing) -> dict[str, object]:
    manifest = listing.manifest
    if manifest is None:
        return {"model": listing.label, "refused": listing.refusal}
    sides = {"inputs": manifest.signature.inputs, "outputs": manifest.signature.outputs}
    return {
        "model": listing.label,
        "sha256": manifest.sha256,
        "description": manifest.description,
        **{
            side: [{"name": spec.name, "datatype": str(spec.datatype), "shape": list(spec.shape)} for spec in specs]
            for side, specs in sides.items()
        },
    }

"""``lopsided published list | show | audit``: published results of multimodal LLMs, and an audit of such tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.errors import LopsidedError, one_line
from . import console

if TYPE_CHECKING:
    import pandas as pd

    from ..mllm.published import Finding

app = typer.Typer(name="published", help="Show and audit published results of multimodal LLMs.", no_args_is_help=True)


@app.command("list")
def list_published() -> None:
    """List the tables that come with lopsided, and where their numbers are from.

    Example: lopsided published list
    """
    from ..mllm.published import list_tables, published_table

    for name in list_tables():
        table = published_table(name)
        about = "; ".join(filter(None, (table.source, table.unit, table.notes)))
        console.say((name, "bold"), f"  {table.title}\n", (f"  {about}", "dim"))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name from 'lopsided published list'.")],
) -> None:
    """Print a table as CSV.

    Example: lopsided published show unipercept_rewards
    """
    from ..mllm.published import published_table

    typer.echo(published_table(name).read().to_csv(index=False), nl=False)


@app.command()
def audit(
    accuracies: Annotated[
        Path | None,
        typer.Argument(
            metavar="ACCURACIES.csv", help="A column 'model', and one column per group and per total, in per cent."
        ),
    ] = None,
    sizes: Annotated[
        Path | None,
        typer.Option("--sizes", metavar="CSV", help="Columns grouping, group, items: how many items each group has."),
    ] = None,
) -> None:
    """Check whether the percentages of a table can be true: do they fit the counts, the headings and each other?

    Without a table, all published ones are checked. Exit status 1 if a table of your own has a finding.

    Example: lopsided published audit accuracies.csv --sizes sizes.csv
    """
    if (accuracies is None) != (sizes is None):
        raise LopsidedError("give both the accuracies and --sizes, the number of items of each group")
    if accuracies and sizes:
        found = _audited(accuracies.name, _read(accuracies), _read(sizes))
        raise typer.Exit(console.FAILED if found else 0)
    from ..mllm.published import published_table

    of = published_table("unipercept_vqa_sizes").read()
    for domain in ("IAA", "IQA", "ISTA"):
        name = f"unipercept_vqa_{domain.lower()}"
        _audited(name, published_table(name).read(), of.query(f"domain == '{domain}'"))


def _audited(name: str, table: pd.DataFrame, sizes: pd.DataFrame) -> list[Finding]:
    from ..mllm.published import audit_accuracies

    found = audit_accuracies(table, sizes)
    console.say(f"{name}: {len(table)} rows, {len(found)} finding(s)")
    if found:
        shown = console.table("kind", "where", "finding")
        for finding in found:
            shown.add_row(finding.kind, ", ".join(finding.subject), finding.detail)
        console.show(shown)
    return found


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = one_line(error)
        raise LopsidedError(f"'{path}' cannot be read as CSV: {reason}") from None

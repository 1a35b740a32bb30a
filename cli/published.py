"""``lopsided published list | show | audit``: published results of multimodal LLMs, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..common.errors import LopsidedError

if TYPE_CHECKING:
    import pandas as pd

    from ..mllm.published import Finding

app = typer.Typer(name="published", help="Published results, and an audit of accuracy tables.", no_args_is_help=True)
out = Console()

Accuracies = Annotated[
    Path | None, typer.Argument(metavar="[ACCURACIES.csv]", help="model, one column per group and total; in %.")
]
Sizes = Annotated[Path | None, typer.Option("--sizes", metavar="CSV", help="grouping, group, items; see the docs.")]


@app.command("list")
def list_published() -> None:
    """List the tables and where their numbers come from."""
    from ..mllm.published import list_tables, published_table

    for name in list_tables():
        table = published_table(name)
        note = f"; {table.notes}" if table.notes else ""
        out.print(
            f"[bold]{name}[/]  {escape(table.title)}\n  [dim]{escape(table.source)}; {escape(table.unit + note)}[/]"
        )


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="As listed.")]) -> None:
    """Print a table as CSV."""
    from ..mllm.published import published_table

    typer.echo(published_table(name).read().to_csv(index=False), nl=False)


@app.command()
def audit(accuracies: Accuracies = None, sizes: Sizes = None) -> None:
    """Audit a table of accuracies, or every published one: do percentages, counts and headings fit each other?

    Exit status 1 if a table of your own has a finding.
    """
    if (accuracies is None) != (sizes is None):
        raise LopsidedError("an audit needs both: the accuracies, and --sizes with the number of items of each group")
    if accuracies and sizes:
        found = _audited(accuracies.name, _read(accuracies), _read(sizes))
        raise typer.Exit(1 if found else 0)
    from ..mllm.published import published_table

    of = published_table("unipercept_vqa_sizes").read()
    for domain in ("IAA", "IQA", "ISTA"):
        name = f"unipercept_vqa_{domain.lower()}"
        _audited(name, published_table(name).read(), of.query(f"domain == '{domain}'"))


def _audited(name: str, table: pd.DataFrame, sizes: pd.DataFrame) -> list[Finding]:
    from ..mllm.published import audit_accuracies

    found = audit_accuracies(table, sizes)
    out.print(f"{name}: {len(table)} rows, {len(found)} finding(s)", highlight=False, markup=False)
    if found:
        shown = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("kind", "where", "finding"):
            shown.add_column(heading, overflow="fold")
        for finding in found:
            shown.add_row(finding.kind, escape(", ".join(finding.subject)), escape(finding.detail))
        out.print(shown)
    return found


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise LopsidedError(f"'{path}' cannot be read as CSV: {str(error).splitlines()[0]}") from None

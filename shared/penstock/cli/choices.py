"""Options that several commands have, each declared once: which workflow, how many, and between which times."""

from datetime import datetime
from typing import Annotated, Final, overload

import typer

from penstock import clock
from penstock.cli.access import Environment
from penstock.cli.values import read_moment

MAX_LISTED: Final = 1000
"""Rows that one command lists at most."""

WithoutIds = Annotated[Environment, typer.Option("--environment", "-e", help="Where, without ids.")]
DeployedIn = Annotated[Environment, typer.Option("--environment", "-e", help="Where the workflow is deployed.")]
OfWorkflow = Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only of this workflow.")]
RunsOf = Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only runs of this workflow.")]
Newest = Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, help="How many, the newest first.")]


@overload
def moment(text: str, option: str) -> datetime: ...
@overload
def moment(text: str | None, option: str) -> datetime | None: ...
def moment(text: str | None, option: str) -> datetime | None:
    """The time that was given with an option, ISO 8601 or so long ago; None without. Exits with 2 for anything else."""
    try:
        return None if text is None else read_moment(text, clock.now())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None

"""`penstock detected`: parameters that samples sent to `/initialize` suggest, and taking them over into an app."""

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from penstock.cli.access import Environment, open_installation
from penstock.cli.database import Data
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    make_table,
    print_json,
    print_json_list,
    print_table,
    print_text,
    say,
    show_text,
    show_time,
)
from penstock.definitions.detected import write_parameters
from penstock.store.audit import name_cli_actor
from penstock.store.detected import Proposal, accept_proposal, list_proposals

_LIST_EXAMPLES: Final = "Examples:\n\n  penstock detected list\n\n  penstock detected list --json | jq '.results[]'"
_ACCEPT_EXAMPLES: Final = """Examples:

  penstock detected accept greet                                    prints the key `parameters:`

  penstock detected accept greet --write app/workflows/greet.yaml   puts it into the file

A file is changed only when it holds one workflow, of that name and without parameters."""
_WORKFLOW: Final = re.compile(r"^workflow:[ \t]*(\"?)([A-Za-z0-9_-]+)\1[ \t]*(?:#.*)?$", re.MULTILINE)
_NOT_SIMPLE: Final = re.compile(r"^(?:parameters[ \t]*:|\"parameters\"|'parameters'|---[ \t]*\S)", re.MULTILINE)
_LINE_BREAK: Final = re.compile(r"\r?\n")

In = Annotated[Environment, typer.Option("--environment", "-e", help="Where the sample was sent to.")]


def add_commands(program: typer.Typer) -> None:
    """Add the group `detected`."""
    group = typer.Typer(help="Parameters that `/initialize` has detected.", no_args_is_help=True)
    group.command("list", epilog=_LIST_EXAMPLES)(list_)
    group.command("accept", epilog=_ACCEPT_EXAMPLES)(accept)
    program.add_typer(group, name="detected", rich_help_panel="Operate")


def list_(environment: In = Environment.DEVELOPMENT, data: Data = None, as_json: AsJson = False) -> None:
    """List what was detected, by workflow."""
    found = asyncio.run(_list(environment, data))
    if as_json:
        print_json_list([_shown(proposal) for proposal in found])
        return
    table = make_table("workflow", "parameters", "detected", "by", "accepted", droppable=("by", "accepted", "detected"))
    for one in found:
        parameters = ", ".join(f"{known.name}: {known.type}" for known in one.parameters) or "none"
        accepted = "" if one.accepted_at is None else show_time(one.accepted_at)
        table.add_row(
            one.workflow, show_text(parameters), show_time(one.detected_at), show_text(one.detected_by), accepted
        )
    if found:
        print_table(table)
    else:
        console.print("nothing was detected; send a sample to /version-test/api/1.1/wf/WORKFLOW/initialize")


async def _list(environment: Environment, data: Path | None) -> list[Proposal]:
    async with open_installation(data) as database, database.connection() as conn:
        return await list_proposals(conn, environment=environment.value)


def accept(
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.", show_default=False)],
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="The workflow's file, to put them into."),
    ] = None,
    environment: In = Environment.DEVELOPMENT,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print what was detected as the key `parameters:` of the workflow, and note that it is taken over."""
    if write is not None and not write.is_file():
        raise typer.BadParameter(f"there is no file {write}", param_hint="--write")
    proposal = asyncio.run(_accept(workflow, environment, data))
    if proposal is None:
        fail(
            f"nothing was detected of a workflow {workflow!r} in {environment.value}; send a sample to "
            "/version-test/api/1.1/wf/WORKFLOW/initialize"
        )
    block = write_parameters(proposal.parameters)
    if write is not None and _write(write, workflow, block):
        say(f"{write}: parameters of {workflow} written; `penstock check` and deploy it", is_error=as_json)
    elif write is not None:
        say(f"{write} is not changed: it has to hold one workflow, {workflow}, without parameters", is_error=True)
        write = None
    if as_json:
        print_json(_shown(proposal))
    elif write is None:
        print_text(block)


async def _accept(workflow: str, environment: Environment, data: Path | None) -> Proposal | None:
    async with open_installation(data) as database:
        return await database.in_transaction(
            partial(accept_proposal, environment=environment.value, workflow=workflow, actor=name_cli_actor())
        )


def _write(path: Path, workflow: str, block: str) -> bool:
    """Put the block behind the line that names the workflow, if the file is simple enough to be sure."""
    try:
        text = path.read_bytes().decode()
    except UnicodeError:
        return False
    changed = insert_parameters(text, workflow, block)
    if changed is None:
        return False
    path.write_bytes(changed.encode())
    return True


def insert_parameters(text: str, workflow: str, block: str) -> str | None:
    """The file `text` with the block behind the line that names the workflow; None when it holds several workflows,
    another one, or one with parameters.
    """
    named = _WORKFLOW.findall(text.replace("\r\n", "\n"))
    if [name for _, name in named] != [workflow] or _NOT_SIMPLE.search(text):
        return None
    lines = text.splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if line.startswith("workflow:"))
    ending = "\r\n" if lines[at].endswith("\r\n") else "\n"
    lines[at] = lines[at].rstrip("\r\n") + ending
    lines.insert(at + 1, _LINE_BREAK.sub(ending, block))
    return "".join(lines)


def _shown(proposal: Proposal) -> dict[str, Any]:
    return {
        "workflow": proposal.workflow,
        "parameters": [known._asdict() for known in proposal.parameters],
        "yaml": write_parameters(proposal.parameters),
        "detected_at": proposal.detected_at,
        "detected_by": proposal.detected_by,
        "accepted_at": proposal.accepted_at,
        "accepted_by": proposal.accepted_by,
    }

"""`penstock up`: everything in one process, shown to a person."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from penstock.cli.access import Environment
from penstock.cli.apps import find_directory, print_problems
from penstock.cli.deployments import print_plan
from penstock.cli.output import complain, console, make_facts, print_words, say, show_text
from penstock.demo import Demo
from penstock.embedded.deploying import Deployed
from penstock.embedded.settings import ServerSettings
from penstock.embedded.up import Options, Running, serve_all
from penstock.errors import ConfigurationError, PenstockError
from penstock.logs import configure_logs
from penstock.runtime import run_process
from penstock.settings import AppSettings, read_settings

_EXAMPLES: Final = """Examples:

  penstock up --app examples/quickstart --demo

  penstock up --environment development --port 9000 --no-reload

Needs no server: PostgreSQL and the broker are its own, unless PENSTOCK_DATABASE_URL and \
PENSTOCK_AMQP_URL name others. \
Ctrl-C finishes what is in flight; a second one insists."""

App = Annotated[
    Path | None,
    typer.Option(
        help="The app to deploy and watch; by default this directory, if it is one.",
        callback=find_directory,
        show_default=False,
    ),
]
DataDirectory = Annotated[Path | None, typer.Option("--data", help="Where the data is kept.", show_default=".penstock")]
Port = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Port of webhooks, API workflows and the Data API.", show_default="8080"),
]
AdminPort = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Port of the probes and the management API.", show_default="8081")
]
Environments = Annotated[
    list[Environment] | None,
    typer.Option("--environment", "-e", help="Where to deploy the app; repeat it.", show_default="both"),
]
IsDemo = Annotated[
    bool, typer.Option("--demo", help="Play the quickstart's story once everything serves, and continue to serve.")
]
Reload = Annotated[bool, typer.Option("--reload/--no-reload", help="Deploy again when a file of the app changes.")]


def add_commands(program: typer.Typer) -> None:
    """Add `up`."""
    program.command("up", epilog=_EXAMPLES, rich_help_panel="Serve")(up)


def up(
    app: App = None,
    data: DataDirectory = None,
    port: Port = None,
    admin_port: AdminPort = None,
    environment: Environments = None,
    demo: IsDemo = False,
    reload: Reload = True,
) -> None:
    """Serve everything in one process: to develop, to try out, or on a single machine."""
    settings, places = read_settings(ServerSettings), read_settings(AppSettings)
    options = Options(
        app=_find_app(app or places.app),
        data=data or places.data,
        host=settings.host,
        port=port or settings.port,
        admin_host=settings.admin_host,
        admin_port=admin_port or settings.admin_port,
        environments=tuple(dict.fromkeys(str(name) for name in environment or Environment)),
        is_reloading=reload,
    )
    configure_logs(settings.log_format, settings.log_level or ("error" if demo else "info"))
    story = Demo(options.app, console) if demo else None
    # Otherwise standard error is a log that programs read.
    show = _Terminal(says_stages=demo or sys.stderr.isatty())
    serve = partial(serve_all, options, show, story)
    run_process("up", serve, grace_seconds=settings.shutdown_grace_seconds)
    say("stopped", is_error=True)
    if story is not None and story.has_failed:
        raise typer.Exit(1)


def _find_app(named: Path | None) -> Path | None:
    if named is None:
        return Path() if Path("app.yaml").is_file() else None
    if not named.is_dir():
        raise ConfigurationError(
            f"there is no directory {named}; --app (or PENSTOCK_APP) names the directory that holds app.yaml"
        )
    return named


class _Terminal:
    """Shows a person what happens; see `penstock.embedded.up.Show`."""

    def __init__(self, *, says_stages: bool) -> None:
        self._says_stages = says_stages
        self._was_refused = False

    def beginning(self, stage: str) -> None:
        if self._says_stages:
            say(f"{stage} …", is_error=True)

    def serving(self, running: Running) -> None:
        facts = make_facts()
        facts.add_row("app", self._describe_app(running))
        for name in running.environments:
            facts.add_row(name, f"{running.url}{'' if name == 'live' else '/version-test'}/api/1.1/wf/<workflow>")
        facts.add_row("management", f"{running.admin_url}/v1/{running.environments[0]}/runs")
        facts.add_row("admin token", running.token if running.is_token_kept else "PENSTOCK_ADMIN_TOKEN")
        facts.add_row("database", show_text(running.database))
        facts.add_row("broker", running.broker)
        for name, secrets in (running.deployed.unset if running.deployed else {}).items():
            facts.add_row("secrets", _describe_unset(name, secrets))
        print_words(f"[bold green]Penstock serves.[/] Open {running.admin_url}/  Ctrl-C stops it.")
        console.print(facts)

    def _describe_app(self, running: Running) -> str:
        deployed = running.deployed
        if deployed is None:
            return "what is deployed already (name another with --app)"
        print_problems(deployed.problems)
        if deployed.app is None:
            return "[red]has errors[/], so nothing was deployed; correct them, and it is"
        versions = ", ".join(
            f"{name} version {deployment.version}" for name, deployment in deployed.deployments.items()
        )
        return f"{show_text(deployed.app.name)}  ({versions})"

    def deployed(self, outcome: Deployed | PenstockError) -> None:
        self._tell(outcome)
        self._was_refused = isinstance(outcome, PenstockError) or outcome.app is None

    def _tell(self, outcome: Deployed | PenstockError) -> None:
        if isinstance(outcome, PenstockError):
            complain(f"not deployed: {outcome}")
            return
        if outcome.app is None or outcome.is_new:
            print_problems(outcome.problems)
        if outcome.app is None:
            console.print("[red]not deployed[/]; the previous version continues to serve")
        elif outcome.is_new:
            print_plan(
                replace(next(iter(outcome.deployments.values())).plan, unused=())
            )  # nothing is ever dropped here
            versions = ", ".join(
                f"{name} version {deployment.version}" for name, deployment in outcome.deployments.items()
            )
            for name, secrets in outcome.unset.items():
                console.print(_describe_unset(name, secrets))
            console.print(f"[green]deployed[/] {show_text(outcome.app.name)}: {versions}")
        elif self._was_refused:
            console.print("[green]correct again[/]: the app is what is deployed")
        elif outcome.app.python:
            console.print(f"[green]imported again[/]: the Python of {show_text(outcome.app.name)}")


def _describe_unset(environment: str, names: list[str]) -> str:
    return (
        f"[yellow]not set[/] in {environment}: {', '.join(names)}  (`penstock secret set {names[0]} -e {environment}`)"
    )

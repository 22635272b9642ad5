"""Plays the chapters one after the other and prints them as a table."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from penstock.demo.chapters import CHAPTERS, Check, Scene, new_tag
from penstock.demo.client import TIMEOUT_SECONDS, Client, Unexpected
from penstock.embedded.up import Running
from penstock.errors import ConfigurationError
from penstock.settings import SECRET_PREFIX

_SECRET: Final = "STRIPE_WEBHOOK_SECRET"
_NEEDED: Final = frozenset({"paid_invoice", "start", "create_list", "fulfil_order"})


class Demo:
    """To be called once everything serves. Afterwards `has_failed` says whether any result was unexpected."""

    def __init__(self, app: Path | None, console: Console) -> None:
        """`app` is the quickstart, or an app that has its workflows; `console` is printed to."""
        self._app = app
        self._console = console
        self.has_failed = False
        # Set before the services read their secrets. What a person has set stands, so that real deliveries of theirs
        # verify too.
        os.environ.setdefault(f"{SECRET_PREFIX}{_SECRET}", f"whsec_{secrets.token_hex(16)}")

    async def __call__(self, running: Running) -> None:
        """Play the story. Never raises for what goes wrong in it: the table shows that."""
        self._check_app(running)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as http:
            environment = running.environments[0]
            client = Client(
                http, url=running.url, admin_url=running.admin_url, token=running.token, environment=environment
            )
            scene = Scene(
                client, running.fleet, str(running.secrets.require(environment, [_SECRET])[_SECRET]), new_tag()
            )
            checks: list[Check] = []
            with self._console.status("playing the quickstart's story") as status:
                for name, play in CHAPTERS:
                    status.update(f"playing the quickstart's story: {name}")
                    try:
                        checks += await play(scene)
                    except (Unexpected, TimeoutError) as error:
                        checks.append(Check(name, "to be played to its end", str(error) or type(error).__name__))
        self.has_failed = not all(check.holds for check in checks)
        self._print(checks, environment)

    def _check_app(self, running: Running) -> None:
        app = running.deployed.app if running.deployed else None
        missing = _NEEDED - set(app.workflows if app else ())
        if missing:
            raise ConfigurationError(
                f"--demo plays the story of examples/quickstart, and {self._app or 'what is deployed'} lacks its "
                "workflows"
                f" {', '.join(sorted(missing))}; name the quickstart with --app, or leave --demo out"
            )

    def _print(self, checks: Sequence[Check], environment: str) -> None:
        table = Table(
            title=f"What happened in {environment}",
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        table.add_column("")
        table.add_column("what happened", overflow="fold")
        table.add_column("expected", overflow="fold")
        table.add_column("got", overflow="fold")
        for check in checks:
            sign = "[green]✓[/]" if check.holds else "[red]✗[/]"
            got = escape(check.got) if check.holds else f"[red]{escape(check.got)}[/]"
            table.add_row(sign, escape(check.what), escape(check.expected), got)
        self._console.print()
        self._console.print(table)
        wrong = sum(not check.holds for check in checks)
        if wrong:
            self._console.print(f"[red]{wrong} of {len(checks)} differ from what was expected.[/]")
        else:
            self._console.print(f"[green]All {len(checks)} as expected.[/] Still serving; Ctrl-C stops it.")

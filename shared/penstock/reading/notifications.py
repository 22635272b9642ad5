"""Reads `notifications` of app.yaml: by which ways people are notified beside mail, and how often of what."""

from collections.abc import Callable
from typing import Final

from penstock.definitions.notifications import Notifications, NotificationWebhook
from penstock.domain.notices import NoticeKind, check_period
from penstock.domain.policies import MAX_TARGETS, check_reference, check_url
from penstock.reading.places import Place
from penstock.reading.tables import Table

_WEBHOOK: Final = 'webhooks: [{url: "https://ops.example.com/hook", secret: "${secrets.OPS_HOOK}"}]'


def read_notifications(owner: Table) -> Notifications | None:
    """What is asked for, of all environments or of one; None when nothing is. Problems go to the report."""
    table = owner.table("notifications", "'notifications'")
    if "notifications" not in owner:
        return None
    webhooks = tuple(
        webhook
        for node in table.nodes("webhooks", "{url, secret}")
        if (webhook := _read_webhook(Table(node, node.place, "a webhook", table.report))) is not None
    )
    slack = table.texts("slack")
    for url, place in slack:
        _check(table, place, check_url, url)
    for key, count in (("webhooks", len(webhooks)), ("slack", len(slack))):
        if count > MAX_TARGETS:
            table.report.error(table.key_place(key), f"{key!r} has {count} entries; at most {MAX_TARGETS} are allowed")
    every = _read_every(table)
    table.close()
    return Notifications(webhooks=webhooks, slack=tuple(url for url, _ in slack), every=every)


def _read_webhook(table: Table) -> NotificationWebhook | None:
    if not (table.require("url", _WEBHOOK) and table.require("secret", _WEBHOOK)):
        return None
    url, secret = table.text("url"), table.text("secret")
    table.close()
    if url is None or secret is None:
        return None
    _check(table, table.key_place("url"), check_url, url)
    _check(table, table.key_place("secret"), check_reference, secret)
    return NotificationWebhook(url=url, secret=secret)


def _read_every(table: Table) -> dict[str, str]:
    given = table.table("every", "'every'")
    every: dict[str, str] = {}
    for kind in NoticeKind:
        text = given.text(kind.value)
        if text is None:
            continue
        try:
            check_period(kind, text)
        except ValueError as error:
            given.report.error(given.key_place(kind.value), str(error))
        every[kind.value] = text
    given.close()
    return every


def _check(table: Table, place: Place, check: Callable[[str], str], text: str) -> None:
    try:
        check(text)
    except ValueError as error:
        table.report.error(place, str(error))

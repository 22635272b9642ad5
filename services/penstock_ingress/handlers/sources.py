"""What the management API shows of the sources of webhooks that are deployed."""

from penstock.definitions.models import App
from penstock.definitions.sources import Source
from penstock_ingress.repository.workflow_views import SourceList, SourceListener, WebhookSource
from penstock_ingress.room import Room
from penstock_ingress.rules.environments import LIVE


async def show_sources(room: Room, environment: str) -> SourceList:
    """The sources that are deployed now, and who listens to each."""
    deployment = await room.definitions.newest(environment)
    prefix = "" if environment == LIVE else "/version-test"
    return SourceList(
        results=[_describe(deployment.app, source, prefix) for source in deployment.app.sources.values()], after=None
    )


def _describe(app: App, source: Source, prefix: str) -> WebhookSource:
    listeners = [
        SourceListener(workflow=workflow.name, types=list(trigger.types))
        for workflow in app.workflows.values()
        for trigger in workflow.webhooks
        if trigger.source == source.name
    ]
    return WebhookSource(
        name=source.name, scheme=source.scheme, path=f"{prefix}/webhooks/{source.name}", workflows=listeners
    )

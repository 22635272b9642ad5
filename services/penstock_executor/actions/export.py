"""`export: TYPE`: all things that meet `where` as a file, streamed from the database into it."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.things.exports import CONTENT_TYPES, ExportRequest, export_things
from penstock.things.files import begin_file
from penstock_executor.steps.arguments import constraints, data_type, file_format, flag, target_text, text
from penstock_executor.steps.consumption import consumption, reported
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec


async def export(call: Call) -> Outcome:
    """The file value. A step that is tried again makes another file; the first one expires."""
    kind, format = data_type(call, target_text(call)), file_format(call)
    where, environment = constraints(call, call.arguments), call.run.environment
    async with call.tools.bulk:
        writer = await begin_file(
            call.tools.files,
            environment=environment,
            name=text(call, "name") or f"{kind.name}.{format}",
            content_type=CONTENT_TYPES[format],
            run_id=call.run.id,
        )
        count = await export_things(
            call.tools.database,
            ExportRequest(environment, kind, format, where, is_raw=flag(call, "raw")),
            write=writer.write,
            seconds=call.seconds_left(),
        )
        value = await writer.finish()
    return Done(value.to_json(), must_commit=True, used={Activity.SEARCH: 1, Activity.THING_RETURNED: count})


SPEC: Final = StepSpec(
    action=StepAction.EXPORT,
    target="the name of a data type",
    arguments=("where", "format", "name", "raw"),
    awaited=export,
    consumes=consumption(done=reported),
)

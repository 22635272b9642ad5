"""JSON Schemas (2020-12) of the files of an app, for editors: what stands where, with completion and hints while one
writes.

`penstock check` is the judge; a schema knows nothing of names in other files, nor of expressions. Steps are made from
the tables that the reader itself goes by (`reading.actions.ACTIONS`), so that a new action is in the schema as soon as
it exists.
`python -m penstock.reading.schemas docs/schema` writes them.
"""

from penstock.reading.schemas.files import build_app_schema, build_type_schema, build_workflow_schema
from penstock.reading.schemas.forms import Schema

__all__ = ["Schema", "build_schemas"]


def build_schemas() -> dict[str, Schema]:
    """The schemas by the names of their files."""
    return {
        "app.schema.json": build_app_schema(),
        "type.schema.json": build_type_schema(),
        "workflow.schema.json": build_workflow_schema(),
    }

"""The app that is measured: one `create` step per run, a chain of hops, a webhook without work."""

from collections.abc import Mapping
from pathlib import Path

FILES = {
    "app.yaml": """
app: bench
environments:
  live: {depth_limit: 100000, chain_runs_limit: 10000000}
  development: {depth_limit: 100000}
sources:
  stripe: {scheme: stripe, secrets: ["${secrets.STRIPE_WEBHOOK_SECRET}"]}
""",
    "types/thing.yaml": """
type: thing
fields: {job: number, payload: text}
""",
    "types/order.yaml": """
type: order
fields: {number: text, customer: text, total: number, placed: date, paid: boolean}
unique: [number]
""",
    "types/item.yaml": """
type: item
api: true
fields: {number: number, part: text, name: text, made: date}
indexes: [part]
""",
    "workflows/bench.yaml": """
workflow: insert
parameters: {job: number, payload: text}
on:
  api: {method: POST, auth: public, respond: at_once}
steps:
  - create: thing
    set: {job: "${params.job}", payload: "${params.payload}"}
---
workflow: insert_keyed
parameters: {job: number, payload: text}
concurrency: {limit: 4, key: params.job % 1000}
steps:
  - create: thing
    set: {job: "${params.job}", payload: "${params.payload}"}
---
workflow: insert_many
parameters: {items: list of number}
steps:
  - schedule_list: insert
    over: "${params.items}"
    with: {job: "${item}", payload: "x"}
---
workflow: hop
recursive: true
parameters: {remaining: number}
steps:
  - when: params.remaining > 0
    schedule: hop
    with: {remaining: "${params.remaining - 1}"}
---
workflow: doubling
recursive: true
steps:
  - schedule: doubling
  - schedule: doubling
---
workflow: call_outside
parameters: {name: text, url: text}
on:
  api: {method: POST, auth: admin, respond: at_once}
steps:
  - http: "${params.url}"
---
workflow: answer
on:
  api: {method: POST, auth: public, respond: when_done}
steps: [{return: {ok: true}}]
---
workflow: held
steps: [{wait_for: never}]
---
workflow: bulk_import
parameters: {file: any}
steps:
  - {import: order, from: "${params.file}"}
---
workflow: bulk_update
steps:
  - {update_many: order, where: {}, set: {paid: true}}
---
workflow: bulk_export
steps:
  - {export: order}
---
workflow: bulk_delete
steps:
  - {delete_many: order, where: {}}
---
workflow: hooked
on:
  webhook: {source: stripe}
steps:
  - log: seen
""",
}


def write_app(directory: Path, files: Mapping[str, str] = FILES) -> Path:
    """Write the app's files below `directory`, and return it."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory

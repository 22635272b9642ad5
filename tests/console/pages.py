"""The pages that are looked at from every side: with axe-core, at two widths, in light and dark. A page is added by a
line.
"""

PAGES: tuple[str, ...] = (
    "overview",
    "runs",
    "runs?state=failed",
    "runs/{run}",
    "runs/{delivered_run}",
    "webhooks",
    "webhooks/{delivery}",
    "settings",
    "chains",
    "chains/{cut}",
    "schedule",
    "logs",
    "workflows",
    "workflows/take_order",
    "workload",
    "dead-letters",
    "dead-letters/{run}",
    "data/order",
    "nowhere",
)
"""Addresses below the environment; `{run}` is a run that failed, `{chain}` its chain, `{cut}` a chain that a limit has
cut, `{delivery}` a delivery.
"""

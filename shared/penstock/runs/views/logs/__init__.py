"""What is shown of the log, which `penstock.store.logs` writes.

`filters` says which lines are wanted, `statements` how each filter finds them by an index. `pages` lists lines of all,
`of_runs` those of single runs, `following` those that are new. `unfolding` makes of the one line that a run writes at
its end those that Bubble has.
"""

from penstock.runs.views.logs.filters import KINDS, LogFilter, LogPlace, levels_from, read_kinds
from penstock.runs.views.logs.following import LogCursor, begin_following, list_new_lines
from penstock.runs.views.logs.of_runs import list_run_logs
from penstock.runs.views.logs.pages import list_logs

__all__ = [
    "KINDS",
    "LogCursor",
    "LogFilter",
    "LogPlace",
    "begin_following",
    "levels_from",
    "list_logs",
    "list_new_lines",
    "list_run_logs",
    "read_kinds",
]

"""Runs one scheduler: `python -m penstock_scheduler`."""

from functools import partial

from penstock.logs import configure_logs
from penstock.runtime import run_process
from penstock.settings import read_settings
from penstock_scheduler.app import serve
from penstock_scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    settings = read_settings(SchedulerSettings)
    configure_logs(settings.log_format, settings.log_level)
    run_process("scheduler", partial(serve, settings), grace_seconds=settings.shutdown_grace_seconds)

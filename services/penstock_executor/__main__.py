"""Runs one executor: `python -m penstock_executor`."""

from functools import partial

from penstock.logs import configure_logs
from penstock.runtime import run_process
from penstock.settings import read_settings
from penstock_executor.app import serve
from penstock_executor.settings import ExecutorSettings

if __name__ == "__main__":
    settings = read_settings(ExecutorSettings)
    configure_logs(settings.log_format, settings.log_level)
    run_process("executor", partial(serve, settings), grace_seconds=settings.shutdown_grace_seconds)

"""Runs one of the processes of an executor that has several, which starts it: `python -m penstock_executor.worker`."""

import sys

from penstock.runtime import start_worker
from penstock.settings import read_settings
from penstock_executor.app import serve
from penstock_executor.settings import ExecutorSettings

if __name__ == "__main__":
    start_worker("executor", serve, read_settings(ExecutorSettings), sys.argv[1:])

"""Runs one executor: `python -m penstock_executor`."""

from penstock.runtime import start_service
from penstock.settings import read_settings
from penstock_executor.app import serve
from penstock_executor.settings import ExecutorSettings

if __name__ == "__main__":
    start_service("executor", serve, read_settings(ExecutorSettings))

"""Ports for services under test."""

import random
import subprocess
import sys

from penstock.testing.ports import find_ports

FIND = (
    "import random; random.seed(7); from penstock.testing.ports import find_ports; print(*find_ports(100), flush=True)"
)


def test_a_port_is_given_once() -> None:
    assert not set(find_ports(100)) & set(find_ports(100))


def test_processes_get_different_ports_whatever_their_random_numbers() -> None:
    random.seed(7)
    ours = set(find_ports(100))
    others = subprocess.run([sys.executable, "-c", FIND], check=True, capture_output=True, text=True).stdout
    assert len(others.split()) == 100
    assert not ours & {int(port) for port in others.split()}

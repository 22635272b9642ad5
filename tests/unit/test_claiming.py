"""What `penstock up` says when it cannot have its ports or its directory."""

import socket
from pathlib import Path

import pytest

from penstock.embedded.claiming import Places, check_alone, check_ports, hold_directory
from penstock.embedded.presence import Presence, announce
from penstock.errors import ConfigurationError
from penstock.testing.ports import find_port

HERE = "127.0.0.1"


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_that_is_taken_names_the_option(option: str) -> None:
    with socket.create_server((HERE, 0)) as taken:
        ports = taken.getsockname()[1], find_port()
        port, admin_port = ports if option == "--port" else reversed(ports)
        with pytest.raises(ConfigurationError, match=rf"in use; stop what uses it, or choose another with {option}$"):
            check_ports(Places(HERE, port, HERE, admin_port))


@pytest.mark.parametrize(("host", "admin_host"), [(HERE, HERE), ("0.0.0.0", HERE), (HERE, "::")])
def test_one_port_for_both_is_refused(host: str, admin_host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--port and --admin-port are both 8080; choose two$"):
        check_ports(Places(host, 8080, admin_host, 8080))


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
def test_an_address_that_is_not_here_names_the_setting(host: str) -> None:
    with pytest.raises(ConfigurationError, match="set PENSTOCK_HOST to an address of this machine"):
        check_ports(Places(host, find_port(), HERE, find_port()))


@pytest.mark.parametrize("place", ["/dev/null/data", "/proc/data", "file"])
def test_a_directory_that_cannot_be_written_is_one_line(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        hold_directory(tmp_path / place)
    message = str(caught.value)
    assert message.startswith(f"cannot write to {tmp_path / place}: ")
    assert message.endswith("; choose another directory with --data (or PENSTOCK_DATA)")
    assert "\n" not in message


def test_a_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    hold_directory(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_directory_that_is_served_says_where(tmp_path: Path) -> None:
    check_alone(tmp_path)
    with (
        announce(tmp_path, Presence("postgresql:///", None, "http://127.0.0.1:8080", "http://127.0.0.1:8081")),
        pytest.raises(ConfigurationError, match=rf"^Penstock serves {tmp_path} already, at http://127.0.0.1:8081/; "),
    ):
        check_alone(tmp_path)
    check_alone(tmp_path)

"""The demo prefers its usual ports, steps aside for others, and stays where it was."""

import socket

import pytest

from demo.errors import DemoError
from demo.ports import HOST, PREFERRED, SEARCH, choose_ports, holder, is_taken, require_free


def test_free_preferred_ports_are_chosen():
    assert choose_ports(PREFERRED, taken=lambda port: False) == dict(PREFERRED)


def test_the_next_free_port_is_chosen_when_the_preferred_one_is_taken():
    assert choose_ports({"a": 8080}, taken={8080, 8081}.__contains__) == {"a": 8082}


def test_no_port_is_given_twice():
    chosen = choose_ports({"a": 8080, "b": 8081, "c": 8080}, taken={8080}.__contains__)

    assert chosen == {"a": 8081, "b": 8082, "c": 8083}


def test_it_is_said_when_no_port_is_free():
    with pytest.raises(DemoError, match=f"from 8080 to {8080 + SEARCH - 1}"):
        choose_ports({"a": 8080}, taken=lambda port: True)


def test_the_search_ends_at_the_last_port():
    with pytest.raises(DemoError):
        choose_ports({"a": 65535}, taken={65535}.__contains__)


def test_preferred_ports_are_all_different():
    assert len(set(PREFERRED.values())) == len(PREFERRED)


def test_a_port_with_a_listener_is_taken_and_its_holder_is_named():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]

        assert is_taken(port)
        assert "another program" in holder(port)

    assert not is_taken(port)


def test_remembered_ports_that_are_free_are_fine():
    require_free({"s3": 8333}, taken=lambda port: False)


@pytest.mark.parametrize(
    ("name", "title"), [("s3_filer", "s3"), ("label_studio", "label studio"), ("backend", "backend")]
)
def test_a_remembered_port_that_is_taken_is_told_in_a_sentence(name: str, title: str):
    with pytest.raises(
        DemoError, match=f"Port 1, on which this demo's {title} was set up, is taken by another program"
    ):
        require_free({name: 1}, taken=lambda port: True)

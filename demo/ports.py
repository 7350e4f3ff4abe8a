"""Which ports the demo's services listen on: the usual ones where they are free, and the same ones for ever after."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import psutil

from demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

HOST = "127.0.0.1"
"""Everything listens here and nowhere else; also the host in every URL: a presigned URL is valid for one name only."""

PREFERRED: Mapping[str, int] = {
    "label_studio": 8080,
    "backend": 9090,
    "sagemaker_local": 9091,
    "s3": 8333,
    # SeaweedFS is several servers in one process, and each wants a port for HTTP and one for gRPC.
    "s3_grpc": 19333,
    "s3_master": 19343,
    "s3_master_grpc": 19353,
    "s3_volume": 19363,
    "s3_volume_grpc": 19373,
    "s3_filer": 19383,
    "s3_filer_grpc": 19393,
    "s3_admin": 19403,
    "s3_admin_grpc": 19413,
}

SEARCH = 1000
"""How many ports above the preferred one are tried."""


def is_taken(port: int) -> bool:
    """Whether somebody listens on *port* of this machine, or something else keeps us from listening there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex((HOST, port)) == 0:
            return True
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return True
    return False


def choose_ports(preferred: Mapping[str, int], *, taken: Callable[[int], bool] = is_taken) -> dict[str, int]:
    """A free port for each name: the preferred one, else the next above it that is free and not given to another name.

    Ports are looked for upwards, not drawn from the operating system's ephemeral range, because they are kept for later
    starts and an ephemeral port may then be the near end of anybody's connection.

    Raises:
        DemoError: no free port was found.
    """
    chosen: dict[str, int] = {}
    for name, first in preferred.items():
        chosen[name] = _next_free(first, set(chosen.values()), taken)
    return chosen


def _next_free(first: int, used: Collection[int], taken: Callable[[int], bool]) -> int:
    for port in range(first, min(first + SEARCH, 65536)):
        if port not in used and not taken(port):
            return port
    last = first + SEARCH - 1
    message = f"No free port was found from {first} to {last}: stop some programs that listen there."
    raise DemoError(message)


def require_free(ports: Mapping[str, int], *, taken: Callable[[int], bool] = is_taken) -> None:
    """Make sure that the ports of an earlier start are free again.

    Raises:
        DemoError: another program holds one of them; the message names the port and, if it is known, the program.
    """
    for name, port in ports.items():
        if taken(port):
            title = name.split("_", maxsplit=1)[0] if name.startswith("s3") else name
            message = (
                f"Port {port}, on which this demo's {title.replace('_', ' ')} was set up, is taken by {holder(port)}: "
                "stop that program, or run `make clean` to start anew on other ports (it removes the demo's data)."
            )
            raise DemoError(message)


def holder(port: int) -> str:
    """Who listens on *port*, as words for a message; `another program` if the system does not tell."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            return _describe(connection.pid)
    return "another program"


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another program"
    try:
        return f"another program ({psutil.Process(pid).name()}, process {pid})"
    except psutil.Error:
        return f"another program (process {pid})"

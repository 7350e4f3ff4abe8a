"""``python -m tests.infra.account_server PORT``: the emulated account over HTTP, for other programs."""

import sys
import threading

from moto.server import ThreadedMotoServer

from tests.infra.account import emulated_account
from tests.infra.kept_parameters import keep_parameters


def main(port: int) -> None:
    """Serve until somebody ends the process."""
    keep_parameters()
    with emulated_account():
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))

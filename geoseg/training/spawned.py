"""End spawned processes together with their leader."""

import os
import threading
from multiprocessing.connection import wait
from multiprocessing.process import parent_process


def end_with_leader() -> None:
    """End this process as soon as its leader ends, even by a kill."""
    leader = parent_process()
    assert leader is not None

    def watch() -> None:
        wait([leader.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

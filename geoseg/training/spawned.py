"""What processes do that another one spawned."""

import os
import threading
from multiprocessing.connection import wait
from multiprocessing.process import parent_process


def end_with_leader() -> None:
    """Die as soon as the leader does, by a kill too; for the body of a process."""
    leader = parent_process()
    assert leader is not None

    def watch() -> None:
        wait([leader.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

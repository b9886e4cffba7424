"""One process among several that train the same method, as Lightning has to see it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import (
    ClusterEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy


@dataclass(frozen=True)
class Group:
    """The place of a process in its group, whose connection stands already.

    Attributes:
        rank: Number of the process, from 0; the first one writes the files.
        size: Number of processes.
        folder: Of the group alone; the processes connect through a file in it, and a
            file ``stop`` there asks all to end after the current step.
    """

    rank: int
    size: int
    folder: Path

    def asked_to_stop(self) -> bool:
        """Return whether the process that leads the group wants an end."""
        return self.stop.exists()

    @property
    def stop(self) -> Path:
        """The file that asks for an end."""
        return self.folder / "stop"

    @property
    def meeting(self) -> str:
        """Where the processes find one another, in torch's words."""
        return (self.folder / "meeting").as_uri()

    def trainer_options(self) -> dict[str, Any]:
        """Return what Lightning's trainer needs to know of the group.

        Batch normalisation takes the statistics of each process's own patches: those of
        eight patches of 128² are good enough, a common normalisation would wait for all
        processes at every layer, and torch has it for CUDA alone. Running statistics
        are those of the first process.
        """
        strategy = DDPStrategy(
            cluster_environment=_Standing(self.rank, self.size),
            # methods may leave heads out of a step, as alternating ones do
            find_unused_parameters=True,
        )
        return {"devices": self.size, "strategy": strategy}


class _Standing(ClusterEnvironment):
    """An environment whose processes run and are connected."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self._rank = rank
        self._size = size

    @property
    def creates_processes_externally(self) -> bool:
        return True

    # Lightning asks for both only to connect the processes.
    main_address = ""
    main_port = 0

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._size

    def set_world_size(self, size: int) -> None:
        self._size = size

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        self._rank = rank

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0

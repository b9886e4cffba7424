"""Describe to Lightning a process that trains a method together with others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import (
    ClusterEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy


@dataclass(frozen=True)
class ProcessGroup:
    """A process's rank in its group of connected processes.

    Attributes:
        rank: Number of the process, from 0; rank 0 writes the files.
        size: Number of processes.
        folder: Private to the group; the processes connect through a file in it, and a
            file ``stop`` there ends all after the current step.
    """

    rank: int
    size: int
    folder: Path

    def asked_to_stop(self) -> bool:
        """Return whether the group's leader has requested the end."""
        return self.stop.exists()

    @property
    def stop(self) -> Path:
        """The file whose presence requests the end."""
        return self.folder / "stop"

    @property
    def meeting(self) -> str:
        """The address through which torch connects the processes."""
        return (self.folder / "meeting").as_uri()

    def trainer_options(self) -> dict[str, Any]:
        """Return the options of Lightning's trainer for the group.

        Batch normalisation uses the statistics of each process's own patches: eight
        patches of 128² are enough, a shared normalisation would wait for all processes
        at every layer, and torch has it only for CUDA. Running statistics are those of
        the first process.
        """
        strategy = DDPStrategy(
            cluster_environment=_Standing(self.rank, self.size),
            # methods that alternate heads use only some of them in a step
            find_unused_parameters=True,
        )
        return {"devices": self.size, "strategy": strategy}


class _Standing(ClusterEnvironment):
    """A Lightning environment whose processes are already running and connected."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self._rank = rank
        self._size = size

    @property
    def creates_processes_externally(self) -> bool:
        return True

    # Lightning would use both only to connect the processes.
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

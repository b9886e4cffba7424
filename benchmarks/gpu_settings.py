"""What decides a run of ``gpu.py``."""

from dataclasses import dataclass, field
from typing import Any

import torch
from packed import PackedLoader

from geoseg.methods import build_method
from geoseg.methods.bases.method import Method


@dataclass(frozen=True)
class Settings:
    """What decides a run; fixed by its first piece."""

    parameters: dict[str, Any] = field(default_factory=dict)
    patch_size: int = 256
    batch_size: int = 64
    seed: int = 0
    device: str = "cuda"
    precision: str = "bf16-mixed"
    compile: bool = False
    channels_last: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """What the trunk computes in."""
        mixed = self.precision == "bf16-mixed"
        return torch.bfloat16 if mixed else torch.float32

    def build(self, channels: int) -> Method:
        """Build the method as it is trained."""
        method = build_method("iic", channels, self.parameters, seed=self.seed)
        if self.channels_last:
            method.to(memory_format=torch.channels_last)
        if self.compile:
            method.get_submodule("trunk").compile()
        return method

    def loader(self, tiles: list[Any]) -> PackedLoader:
        """Return the loader of some tiles."""
        return PackedLoader(
            tiles,
            patch_size=self.patch_size,
            batch_size=self.batch_size,
            seed=self.seed,
        )

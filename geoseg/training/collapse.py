"""Stop a training whose clusters have collapsed."""

from dataclasses import asdict, dataclass
from typing import Any

import lightning as L

from geoseg.core.words import counted
from geoseg.training.adapter import Adapter
from geoseg.training.callbacks import StepCallback, any_rank

#: Steps of the head before it is judged: the clusters of an untrained network have any
#: size, and its confidence is low.
GRACE_STEPS = 100
#: Entropy of the cluster sizes over ln K below which a head counts as collapsed: at
#: K = 24 that of two clusters. On real tiles it stays above 0.8 after 50 steps.
LEAST_ENTROPY = 0.2
#: Steps that the entropy must stay below.
SMALL_STEPS = 100
#: Confidence above chance, (c - 1/K) / (1 - 1/K), below which a head counts as
#: collapsed. On real tiles it passes 0.05 within 50 steps.
LEAST_CONFIDENCE = 0.02
#: Steps that the confidence must stay below; learning may begin late.
UNSURE_STEPS = 300
#: Weight of a step in the running means, which span about twenty steps.
SMOOTHING = 0.05


@dataclass
class CollapseWatch:
    """Tracks one head's entropy and confidence.

    Attributes:
        clusters: K of the head.
        steps: Number of steps.
        entropy: Running mean, over ln K.
        confidence: Running mean of the mean highest probability.
        small: Steps in a row with too little entropy.
        unsure: Steps in a row with too little confidence.
    """

    clusters: int
    steps: int = 0
    entropy: float = 1.0
    confidence: float = 1.0
    small: int = 0
    unsure: int = 0

    def see(self, entropy: float, confidence: float) -> str | None:
        """Add the numbers of a step; return the cause of a collapse, or None.

        Args:
            entropy: Of the cluster sizes over ln K, in [0, 1].
            confidence: Mean highest probability, in [1/K, 1].
        """
        weight = SMOOTHING if self.steps else 1.0
        self.entropy += weight * (entropy - self.entropy)
        self.confidence += weight * (confidence - self.confidence)
        self.steps += 1
        if self.steps <= GRACE_STEPS:
            return None
        chance = 1 / self.clusters
        above = (self.confidence - chance) / (1 - chance)
        self.small = self.small + 1 if self.entropy < LEAST_ENTROPY else 0
        self.unsure = self.unsure + 1 if above < LEAST_CONFIDENCE else 0
        if self.small >= SMALL_STEPS:
            return (
                f"nearly all pixels fall into one cluster (entropy {self.entropy:.2f}, "
                f"below {LEAST_ENTROPY} for {counted(self.small, 'step')})"
            )
        if self.unsure >= UNSURE_STEPS:
            return (
                f"no pixel prefers one cluster to another (confidence "
                f"{self.confidence:.3f}, chance is {chance:.3f}, for {counted(self.unsure, 'step')})"
            )
        return None


class CollapseStop(StepCallback):
    """Stops the training when the default head has collapsed.

    The collapse of another head does not harm the map. Methods that do not log
    ``entropy`` and ``confidence`` are not watched, nor are heads that learn classes
    from labels: one class may rightly have nearly all pixels.

    Args:
        state: Of the training.
        stop: Whether to stop it; if not, the head is only tracked for a later resume.

    Attributes:
        message: Message with the cause and the advice, or None.
    """

    def __init__(self, state: Adapter, *, stop: bool) -> None:
        super().__init__(state)
        self.stop = stop
        self.head = state.method.default_head
        self.learns_classes = self.head == state.method.class_head
        self.watch = CollapseWatch(state.method.heads[self.head])
        self.message: str | None = None

    def on_step(self, trainer: L.Trainer) -> None:
        if self.learns_classes:
            return
        numbers = self.state.numbers()
        trained = list(self.state.areas()) or [self.head]
        if trained[-1] != self.head or not {"entropy", "confidence"} <= numbers.keys():
            return
        wrong = self.watch.see(numbers["entropy"], numbers["confidence"])
        if self.stop and any_rank(trainer, wrong is not None):
            advice = self.state.method.advice_on_collapse(self.head)
            self.message = (
                f"stopped at step {self.state.steps_made}, for head {self.head} has "
                f"collapsed: {wrong}; try {advice}"
            )
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.watch)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.watch = CollapseWatch(**state_dict)

"""What cuts things short."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worldplan.agent.evaluation import probe
from worldplan.agent.experiments.imagine import imagined
from worldplan.agent.training.trainer import Trainer


def run_until_power_cut(trainer: Trainer, after: int = 0) -> None:
    """Runs until the first checkpoint that is written after this step, and no further."""
    save = trainer._save

    def save_and_stop() -> None:
        save()
        if trainer.step > after:
            raise RuntimeError("power cut")

    trainer._save = save_and_stop  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.run()


@contextmanager
def short_probe() -> Iterator[None]:
    """`imagine` plays fewer rows, and fits a worse probe, than a user would want."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagined, "_ROWS", 200)
        patch.setattr(probe, "_UPDATES", 50)
        yield

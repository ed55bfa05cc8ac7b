"""A film of one held-out episode at each evaluation."""

from __future__ import annotations

from pathlib import Path

from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.film import film_episode
from worldplan.agent.training.events import EvaluationEvent, Listener


def film_of(run_dir: Path, step: int) -> Path:
    """Where the film of the evaluation at a step lies."""
    return run_dir / f"step_{step:09d}.mp4"


class Films(Listener):
    """Films the agent. Comes before those who show films."""

    def on_evaluation(self, event: EvaluationEvent) -> None:
        run = self.run
        film = film_of(run.run_dir, event.step)
        film_episode(run.agent, run.config.env, held_out_seeds(1)[0], film)

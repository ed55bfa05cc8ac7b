"""Films one held-out episode at each evaluation."""

from __future__ import annotations

from pathlib import Path

from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.film import check_rendering, film_episode
from worldplan.agent.training.events import EvaluationEvent, Listener
from worldplan.envs import EnvConfig


def film_path(run_dir: Path, step: int) -> Path:
    """The film of the evaluation at a step."""
    return run_dir / f"step_{step:09d}.mp4"


class Films(Listener):
    """Films the agent. It must come before listeners that show films."""

    def __init__(self, env: EnvConfig) -> None:
        """Raises ValueError if the environment cannot be filmed."""
        check_rendering(env)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        run = self.run
        film = film_path(run.run_dir, event.step)
        seed, longest = held_out_seeds(1)[0], run.config.eval_max_steps
        film_episode(run.agent, run.config.env, seed, film, longest=longest)

"""The folder of the tests' user modules, and settings small enough for a test."""

from pathlib import Path

HELPERS = str(Path(__file__).parent)  # on sys.path, so that toy_envs is like a user's module
SMALL = [
    *("model.embedding=16", "model.width=16", "model.simnorm_group=4"),
    *("heads.width=16", "heads.outcome_width=16", "heads.bins=21", "learner.batch_size=16"),
    *("planner.samples=16", "planner.elites=4", "planner.iterations=2", "agent.proposals=4"),
    *("seed_steps=40", "compile=off", "threads=1", "eval_episodes=2", "final_episodes=2"),
]

"""One trial of a comparison, in a process of its own: a training run, then measurements.

    python -m worldplan.agent.experiments.compare.trial RUN_DIR

RUN_DIR holds the run's config.yaml. An earlier attempt in it is resumed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from rich.console import Console

from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import read_yaml
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.evaluation.statistics import summary
from worldplan.agent.experiments.compare.measure import measure
from worldplan.agent.training.compiled.schedule import schedule
from worldplan.agent.training.disk.run_folder import holds_run
from worldplan.agent.training.restore import load_with_config, make_agent
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import make_vector

MEASURES = "measures.json"  # is there once the trial is done


def trained(config: RunConfig, run_dir: Path, console: Console) -> Agent:
    """The agent of the run; it is trained now unless that was done before."""
    if not config.agent.model.learns:
        return _evaluated(config, run_dir)
    if (run_dir / "result.json").exists():
        # As it was at the end of training.
        compiled = schedule(config, config.steps, torch.get_num_threads()).at is not None
        agent, _ = load_with_config(run_dir, compiled=compiled)
        return agent
    trainer = Trainer(config, run_dir, console, resume=holds_run(run_dir))
    trainer.run()
    return trainer.agent


def _evaluated(config: RunConfig, run_dir: Path) -> Agent:
    """The agent of a family that learns nothing; writes `result.json` as a training run does."""
    agent, seeds = make_agent(config), held_out_seeds(config.final_episodes)
    env = make_vector(config.env, len(seeds))
    result = evaluate(agent, env, seeds, longest=config.eval_max_steps)
    env.close()
    head = {"task": config.task, "seed": config.seed, "step": 0, "frames": 0, "solved": False}
    write_json(run_dir / "result.json", head | summary(result.returns, result.seeds))
    return agent


def run_trial(run_dir: Path) -> None:
    """Trains to the end, unless that is done, and writes `measures.json`."""
    config = read_yaml(run_dir / "config.yaml")
    torch.set_num_threads(config.threads or torch.get_num_threads())
    agent = trained(config, run_dir, Console(width=120))
    write_json(run_dir / MEASURES, measure(agent, config))


if __name__ == "__main__":
    try:
        run_trial(Path(sys.argv[1]))
    except KeyboardInterrupt:  # its state is saved; a later attempt resumes
        sys.exit(130)

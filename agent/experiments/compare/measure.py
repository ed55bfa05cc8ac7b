"""Measurements of a trained model besides its return: prediction, use of a and z, time, baselines.

Shapes: W windows, T steps ahead, M futures, D observation, A action, H embedding, S' state.
"""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldplan.agent.acting.agentless import ConstantCostActor, NoState
from worldplan.agent.acting.collect import store
from worldplan.agent.acting.rollout import rollout
from worldplan.agent.acting.spaces import action_space
from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.batch import Batch
from worldplan.agent.data.replay import Replay
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.diagnostics import diagnose, filtered
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.evaluation.probe import Probe, fit_probe
from worldplan.agent.models.world_model import Model, imagine_step
from worldplan.envs import EnvConfig, make_vector
from worldplan.planners import ActionSpace, Plan

HORIZONS = (0, 1, 10)  # steps ahead at which predictions are judged; 0 judges the probe alone
_ENVS, _ROUNDS, _STEPS = 16, 4, 100  # episodes that predictions are judged on
_WINDOWS, _FUTURES, _DECISIONS = 512, 8, 50


def measure(agent: Agent, config: RunConfig) -> dict[str, Any]:
    """All of a run's figures that its `result.json` does not hold, as JSON.

    Returns:
        policy: returns of the policy prior on the episodes of `result.json`.
        random, chance: of uniformly random actions and of `ConstantCostActor`, on held-out
            episodes that differ from seed to seed.
        uses_action: whether the model has the action variable.
        decision_ms: median processor time of one decision for one environment.
        error_0_x, error_1_x, error_10_x, error_1_h, error_10_h: see `prediction_errors`.
        action_sensitivity: see `diagnose`.
        information: nats a step that z carries: KL of the posterior from the prior. For an
            autoregressive model that is the surprise, whose mean is the cross-entropy; for an
            ensemble, of the member alone.
    """
    agent = agent.on_cpu()
    seeds = held_out_seeds(config.final_episodes)
    other_seeds = held_out_seeds(config.final_episodes, first=1000 * (config.seed + 1))
    world = make_vector(config.env, config.final_episodes)
    longest = config.eval_max_steps
    policy = [float("nan")]  # a simulator has none
    if agent.has_policy:
        policy = evaluate(agent, world, seeds, "policy", longest=longest).returns.tolist()
    random = evaluate(agent, world, other_seeds, "random", longest=longest)
    baseline = ConstantCostActor(agent.controller.planner, agent.model.noise_dim)
    chance = evaluate(agent, world, other_seeds, baseline, longest=longest)
    world.close()

    model = agent.model
    generator, rng = torch.Generator().manual_seed(config.seed), np.random.default_rng(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        fitting = wander(config.env, 10_000, Path(folder) / "fit")
        testing = wander(config.env, 20_000, Path(folder) / "test")
        past, ahead = model.context - 1, max(HORIZONS)
        windows = fitting.sample(rng, 8 * _WINDOWS, past, 1)
        probe = fit_probe(
            torch.cat(filtered(model, windows), -1), windows.observation[:, past], config.seed
        )
        windows = testing.sample(rng, _WINDOWS, past, ahead)
    return {
        "policy": policy,
        "random": random.returns.tolist(),
        "chance": chance.returns.tolist(),
        "uses_action": model.uses_action,
        "decision_ms": _decision_ms(agent, windows.observation[:_DECISIONS, past]),
        **prediction_errors(model, probe, windows, generator),
        "action_sensitivity": diagnose(model, windows, generator)["action_sensitivity"],
        "information": information(model, windows),
    }


def wander(env: EnvConfig, first: int, directory: Path) -> Replay:
    """Held-out episodes of random actions, each with an amplitude of its own in [0, 1].

    The same for every model of a task, whatever its own planner does, and never trained on. Of a
    task that ends where something falls, gentle actions give episodes long enough to predict.

    Args:
        first: number of the first held-out episode.
        directory: where the replay's files go.
    """
    world = make_vector(env, _ENVS)
    capacity = _ENVS * _ROUNDS * (_STEPS + 1)
    replay = Replay(directory, world.spec, _ENVS, capacity=capacity, slack=0)
    rng = np.random.default_rng(first)
    for k in range(_ROUNDS):
        seeds = held_out_seeds(_ENVS, first + k * _ENVS)
        gentle = GentleActor(rng, _ENVS, action_space(world.spec.action))
        # Its numbers are its own: this generator draws none.
        events = rollout(gentle, world, seeds, torch.Generator())
        for event in islice(events, 1 + _STEPS):
            store(replay, event)
    world.close()
    return replay


class GentleActor:
    """Random actions, in each environment with an amplitude of its own in [0, 1].

    Choices have no amplitude: they are uniform.
    """

    def __init__(self, rng: np.random.Generator, batch: int, actions: ActionSpace) -> None:
        self.rng, self.actions, self.shape = rng, actions, (batch, actions.size)
        self.amplitude = rng.uniform(0, 1, (batch, 1))

    def initial(self, batch: int) -> NoState:
        return NoState()

    def act(
        self, observation: Tensor, state: NoState, generator: torch.Generator
    ) -> tuple[Tensor, NoState, Plan | None]:
        action = self.amplitude * self.rng.uniform(-1, 1, self.shape)
        return self.actions.executable(torch.from_numpy(action.astype(np.float32))), state, None


@torch.no_grad()
def prediction_errors(
    model: Model, probe: Probe, batch: Batch, generator: torch.Generator
) -> dict[str, float]:
    """How far imagined futures under the true actions are from what came, `HORIZONS` ahead.

    Of a model with z, the mean of M futures is judged: a single one would be punished for
    guessing. Errors are root mean squares in units of the spread of what came, so that 1 is as
    good as knowing the mean alone, and families can be compared.

    Args:
        probe: reads x (..., D) off (h, s).
        batch: windows with `context` - 1 steps before and at least `max(HORIZONS)` after.

    Returns:
        error_T_x: in observations, each dimension in its own spread.
        error_T_h: in the model's own embedding space. NaN where no window lasts that long. Without
            T = 0, where nothing is predicted.
    """
    past, windows = model.context - 1, len(batch.action)
    futures = _FUTURES if model.noise_dim else 1
    h, s = (u.repeat(futures, 1) for u in filtered(model, batch))
    errors = {}
    for t in range(max(HORIZONS) + 1):
        if t in HORIZONS:
            there = batch.valid[:, past : past + t].all(1)  # the episode lasts so long
            came = batch.observation[there, past + t]
            imagined, seen = (
                u.view(futures, windows, -1).mean(0)[there]
                for u in (h, probe(torch.cat([h, s], -1)))
            )
            scale = came.std(0)
            varies = scale > 1e-6
            errors[f"error_{t}_x"] = _relative_error(
                (seen / scale)[:, varies], (came / scale)[:, varies]
            )
            if t:
                errors[f"error_{t}_h"] = _relative_error(imagined, model.encode(came))
        if t < max(HORIZONS):
            a = batch.action[:, past + t].repeat(futures, 1)
            noise = torch.randn(len(h), model.noise_dim, generator=generator)
            h, s, _ = imagine_step(model, h, s, a, noise)
    return errors


def _relative_error(predicted: Tensor, came: Tensor) -> float:
    """Root mean square distance over the root mean square distance from the mean."""
    spread = (came - came.mean(0)).square().sum(-1).mean()
    return float(((predicted - came).square().sum(-1).mean() / spread).sqrt())


@torch.no_grad()
def information(model: Model, batch: Batch) -> float:
    """Mean nats that z carries in the first step, over windows that have one; see `measure`."""
    past = model.context - 1
    h, s = filtered(model, batch)
    h_next = model.encode(batch.observation[:, past + 1])
    a = batch.action[:, past]
    nats = model.information(model.posterior(h, s, a, h_next), model.prior(h, s, a))
    return float(nats[batch.valid[:, past]].mean())


def _decision_ms(agent: Agent, observations: Tensor) -> float:
    """Median over decisions for observations (n, D), one environment; the first ones warm up."""
    actor, generator = agent.actor(), agent.generator(0)
    state, times = actor.initial(1), []
    for x in observations:
        began = time.process_time()  # other trials may share the processor
        _, state, _ = actor.act(x[None], state, generator)
        times.append(1e3 * (time.process_time() - began))
    return float(np.median(times[len(times) // 5 :]))

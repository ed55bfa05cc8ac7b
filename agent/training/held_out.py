"""Held-out episodes of a training run: a few at intervals, and more of them at its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.calibration import optimism_by_horizon
from worldplan.agent.evaluation.diagnostics import PolicyLag
from worldplan.agent.evaluation.evaluate import NO_LIMIT, Evaluation, evaluate
from worldplan.agent.training.events import EvaluationEvent
from worldplan.envs import make_vector

_LEARNING = 5  # times the random start, before a policy can be expected to have learned


class HeldOut:
    """Plays held-out episodes with the agent of a run, which they do not change."""

    def __init__(self, config: RunConfig, agent: Agent) -> None:
        self.config, self.agent = config, agent
        self.env = make_vector(config.env, config.eval_episodes)
        agent.spec.check_same(self.env.spec)
        # Decisions after which an episode is cut.
        self.longest = config.eval_max_steps or self.env.max_episode_steps or NO_LIMIT
        # A policy learns nothing from random actions.
        after = max(config.steps / 2, _LEARNING * config.seed_steps)
        self.lag = PolicyLag(after, list(_remedies(config)))

    def evaluate(self, step: int, heads: Mapping[str, float]) -> EvaluationEvent:
        """A row of the learning curve. `heads` are measures of policy and value."""
        c, seeds = self.config, held_out_seeds(self.config.eval_episodes)
        planner = evaluate(self.agent, self.env, seeds, longest=self.longest)
        policy = None
        if self.agent.has_policy:
            policy = evaluate(self.agent, self.env, seeds, "policy", longest=self.longest)
        optimism = optimism_by_horizon(planner, c.agent.discount)
        frames = step * c.env.action_repeat
        return EvaluationEvent(step, frames, planner, policy, optimism, heads)

    def warn(self, event: EvaluationEvent, warning: Callable[[str], None]) -> None:
        """Calls `warning` if the policy alone has come to lag far behind the planner."""
        if event.policy is not None:
            means = (float(e.returns.mean()) for e in (event.planner, event.policy))
            if text := self.lag.notice(event.step, *means):
                warning(text)

    def recall(self, curve: Iterable[Mapping[str, float]]) -> None:
        """Takes note of a resumed run's earlier evaluations, rows of its learning curve."""
        for row in curve:
            means = row.get("return", math.nan), row.get("policy_return", math.nan)
            if not any(map(math.isnan, means)):
                self.lag.notice(int(row["step"]), *means)

    def final(self) -> Evaluation:
        """More episodes, for the result."""
        seeds = held_out_seeds(self.config.final_episodes)
        env = make_vector(self.config.env, len(seeds))
        result = evaluate(self.agent, env, seeds, longest=self.longest)
        env.close()
        return result


def _remedies(config: RunConfig) -> Iterator[str]:
    """What has closed the gap between policy and planner, and is not set already."""
    if config.updates_per_step < 2:
        yield "updates_per_step=2"
    if not config.agent.learner.imagination:
        yield "learner.imagination=3"
    yield "more steps"

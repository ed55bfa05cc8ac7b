"""Planning with a simulator: no model is learned, MuJoCo itself says what comes of a plan."""

import numpy as np
from small import QUICK

import worldplan
from worldplan.envs import EnvConfig, Simulator

config = EnvConfig(id="InvertedPendulum-v5", observe="state")  # of MuJoCo, which it starts from
env, simulator = worldplan.make_env(config), Simulator(config)
state, _ = env.reset(seed=0)
search, total = None, 0.0


def cost(actions: np.ndarray) -> np.ndarray:
    """Of plans (N, T, A): minus the true rewards, after which the pole has fallen or not."""
    begin = np.repeat(state[None], len(actions), 0)
    return -simulator.rollout(begin, actions).rewards.sum(1)


how = {"horizon": 5 if QUICK else 30, "samples": 16 if QUICK else 64, "elites": 8}
for _ in range(5 if QUICK else 300):
    found = worldplan.plan(cost, env.action_space, planner="icem", state=search, **how)
    search = found.state  # the next search starts from this plan, shifted by a step
    state, reward, fallen, _, _ = env.step(found.action)
    total += reward
    if fallen:
        break
print(f"return {total:.0f}; the last plan promised {-found.cost:.1f} more")

"""Risk: the same plan has several futures, and a measure makes one cost of theirs."""

import numpy as np
from small import EPISODES, QUICK, settings

import worldplan

# A cost that depends on chance: to go fast is worth 1 a step, but a gust may throw one off.
GUST = 1.2  # standard deviations, from where on it does


def cost(actions: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Of (N, T, 1) speeds under gusts (M, T, 1) -> (N, M)."""
    fast = actions[:, None] > 0.5
    thrown = fast & (noise[None] > GUST)
    return (20.0 * thrown - actions[:, None]).sum((2, 3))


for risk in ("mean", {"kind": "cvar", "alpha": 0.2}, "worst"):
    found = worldplan.plan(
        cost, low=0, high=1, latent_dim=1, latent_samples=32, risk=risk, horizon=1, iterations=5
    )
    print(f"{risk}: speed {found.action[0]:.2f}, cost {found.cost:.2f} +- {found.spread:.2f}")

# The same where the futures are learned: a ball crosses a gorge, by a bridge or the safe way round.
agent = worldplan.train(
    "gusts",
    **settings(steps=30_000, planner={"risk": {"kind": "cvar", "alpha": 0.2}}),
    **({"num_envs": 2} if QUICK else {}),
)
print("mean return, careful:", agent.evaluate(episodes=EPISODES).summary()["mean"])

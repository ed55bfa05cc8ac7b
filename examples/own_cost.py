"""A cost of your own: the model that was learned for one reward is planned with for another end."""

import torch
from small import EPISODES, settings

import worldplan
from worldplan.agent.models.ensemble import Ensemble

# An ensemble's embedding is the observation, up to its scale. Other families need a probe, which
# decodes it: see docs/goals.md.
agent = worldplan.train("inverted-pendulum", **settings(steps=3000, model={"kind": "ensemble"}))
print("learned return:", agent.evaluate(episodes=EPISODES).summary()["mean"])
model = agent.model
assert isinstance(model, Ensemble)


def cost(x: torch.Tensor) -> torch.Tensor:
    """Cart 0.5 to the right, pole upright: of observations (T, R, 4) -> (T, R)."""
    return (x[..., 0] - 0.5) ** 2 + 10 * x[..., 1] ** 2


agent.minimise(cost, decode=model.normaliser.inverse)
env = worldplan.make_env(agent.run.env)
observation, _ = env.reset(seed=0)
for _ in range(3 if EPISODES == 1 else 200):
    observation, _, fallen, _, _ = env.step(agent.act(observation, scaled=False))
    if fallen:
        break
print(f"cart at {observation[0]:.2f}, pole at {observation[1]:.2f}")

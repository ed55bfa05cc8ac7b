"""A goal in place of a reward: the agent is shown an observation, and plans to come there."""

import numpy as np
from small import QUICK, settings

import worldplan

agent = worldplan.train("inverted-pendulum", **settings(steps=3000, planner={"horizon": 12}))
env = worldplan.make_env(agent.run.env)

for goal in ([0.3, 0.0, 0.0, 0.0], [-0.3, 0.0, 0.0, 0.0]):  # position, angle, and their speeds
    agent.aim(np.array(goal))
    agent.reset()
    observation, _ = env.reset(seed=0)
    for _ in range(3 if QUICK else 100):
        observation, _, fallen, _, _ = env.step(agent.act(observation, scaled=False))
        if fallen:
            break
    print(f"wanted {goal[0]:.1f}, came to {observation[0]:.2f}, pole at {observation[1]:.2f}")

agent.aim(None)  # for the learned return again

"""A controller at a fixed rate: 50 decisions a second, with a deadline; late ones are counted."""

import time

import numpy as np
from small import QUICK, settings

import worldplan

RATE = 50.0  # Hz
agent = worldplan.train(
    "inverted-pendulum",
    # The search ends when 12 of the 20 ms are over; the best plan so far is executed.
    **settings(steps=3000, planner={"deadline_ms": 12.0}),
)
env = worldplan.make_env(agent.run.env)  # in place of a robot
observation, _ = env.reset(seed=0)
agent.act(observation, scaled=False)  # the first call makes what later ones reuse
agent.reset()

safe = np.zeros(env.action_space.shape or (), np.float32)
late, spent = 0, []
due = time.perf_counter()
for _ in range(10 if QUICK else 500):
    began = time.perf_counter()
    try:
        action = agent.act(observation, scaled=False)
    except (FloatingPointError, ValueError) as error:  # no plan, or nothing to plan from
        print("safe action:", error)
        action = safe
    spent.append(1000 * (time.perf_counter() - began))
    due += 1 / RATE
    late += time.perf_counter() > due
    time.sleep(max(0.0, due - time.perf_counter()))
    observation, _, terminated, truncated, _ = env.step(action)
    if terminated or truncated:
        observation, _ = env.reset()
        agent.reset()
p50, p99 = np.percentile(spent, [50, 99])
print(f"{len(spent)} decisions, {late} late; {p50:.1f} ms (p50), {p99:.1f} ms (p99)")

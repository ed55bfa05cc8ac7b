"""A controller at a fixed rate: 50 decisions a second, a safe action where one fails."""

import gymnasium as gym
from small import QUICK, settings

import worldplan

agent = worldplan.train("inverted-pendulum", **settings(steps=3000))
robot = gym.make("InvertedPendulum-v5")  # in place of one
newest, _ = robot.reset(seed=0)


def read():
    """The newest observation; None if there is none since the last call."""
    return newest


def write(action):
    """Drives the motors."""
    global newest
    newest, _, fell, timed_out, _ = robot.step(action)
    if fell or timed_out:
        newest, _ = robot.reset()
        agent.reset()


print(agent.control(read, write, rate=50.0, seconds=0.2 if QUICK else 10.0))

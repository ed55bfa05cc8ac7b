"""Offline data: a model is learned from recorded steps, without rewards, and used for goals."""

from pathlib import Path

from rich.console import Console
from small import EPISODES, QUICK, settings

from worldplan.agent.acting.collect import collect
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.data.dataset import read_dataset, write_dataset
from worldplan.agent.training.offline.fit import TRIPLES_ALONE, fit
from worldplan.envs import EnvironmentSpec, make_env

config = resolve(load_preset("two-rooms"), TRIPLES_ALONE, settings(seed=1))

# Anything may have recorded the data; here random movements do.
spec = EnvironmentSpec.of(make_env(config.env), config.env)
write_dataset(Path("rooms.npz"), collect(config.env, 400 if QUICK else 20_000), spec)

episodes = read_dataset(Path("rooms.npz"))
agent = fit(config, episodes, Path("runs/rooms"), 10 if QUICK else 3000, Console())

# The task sets a goal in each episode, an observation in the other room.
result = agent.evaluate(episodes=EPISODES)
print(f"reached {result.terminated.mean():.0%} of {len(result.returns)} goals")

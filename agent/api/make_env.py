"""`worldplan.make_env`: an environment as the agent sees it, by what `worldplan.train` takes."""

from __future__ import annotations

from worldplan import envs
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import of_task
from worldplan.envs import EnvConfig
from worldplan.envs.wrappers import FlatEnv


def make_env(task: object, render_mode: str | None = None) -> FlatEnv:
    """Makes one environment: observation (D,) and action (A,), both float32.

        env = worldplan.make_env("cheetah-run")
        env = worldplan.make_env(worldplan.EnvConfig(id="Hopper-v5", action_repeat=4))

    An action is numbers in [-1, 1], or one-hot choices side by side. To render without a display,
    set MUJOCO_GL before the first environment is made.

    Args:
        task: a preset, with its settings of the environment; a Gymnasium id; an environment that
            Gymnasium made, or a function that makes one; or an `EnvConfig`.
        render_mode: as of `gymnasium.make`.

    Raises:
        ValueError: none of these, a missing extra, or unsupported spaces.
    """
    config = task if isinstance(task, EnvConfig) else resolve(of_task(task)).env
    return envs.make_env(config, render_mode)

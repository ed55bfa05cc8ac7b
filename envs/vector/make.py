"""Makes several copies of one environment."""

from worldplan.envs.make import created, is_batched, make_env, wrapped
from worldplan.envs.spec import EnvConfig
from worldplan.envs.vector.batched import Batch, BatchedVectorEnv, One
from worldplan.envs.vector.vector_env import SyncVectorEnv, VectorEnv
from worldplan.envs.vector.workers import AsyncVectorEnv


def make_vector(config: EnvConfig, num_envs: int) -> VectorEnv:
    """Makes `num_envs` copies of one environment.

    They step in `config.workers` processes, or as one batch where the task has that form alone, or
    `config.batched` asks for it: see `adapt_vector`.

    Raises:
        ValueError: num_envs is below 1, or as `make_env`.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    if is_batched(config):
        return adapt_vector(created(config, None, num_envs), config)
    workers = min(config.workers, num_envs)
    if workers > 1:
        return AsyncVectorEnv(config, num_envs, workers)
    return SyncVectorEnv([make_env(config) for _ in range(num_envs)], config)


def adapt_vector(env: Batch, config: EnvConfig | None = None) -> VectorEnv:
    """Any vector environment of Gymnasium's, with observations (B, D) and actions (B, A) as agents
    take them. Observations and actions may be PyTorch's or others that NumPy reads.

    No transition leads from one episode to the next, whichever way it resets itself: see
    `vector.batched.BatchedVectorEnv`. Where a simulator is slow to start, make it once.

    Args:
        config: that it was made by; pictures have its size.

    Raises:
        ValueError: unsupported spaces, no autoreset mode, or settings that need single ones.
    """
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    used = config or EnvConfig(id=name)
    asked = {
        "action_repeat": used.action_repeat > 1, "frame_stack": used.frame_stack > 1,
        "observe": used.observe != "observation", "workers": used.workers > 1,
        "aim": used.aim,
    }  # fmt: skip
    for setting, is_set in asked.items():
        if is_set:
            raise ValueError(
                f"{used.id!r} steps as one batch: expected no env.{setting}, which is for single "
                f"environments, got {getattr(used, setting)!r}; a wrapper of "
                "gymnasium.wrappers.vector, or the task itself, may do it"
            )
    return BatchedVectorEnv(env, wrapped(One(env), used), used.image_size, config)

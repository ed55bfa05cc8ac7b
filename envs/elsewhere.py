"""Environments in another process: how they are known there, and how their errors come back."""

import pickle
from collections.abc import Callable
from typing import TypeVar

import cloudpickle
import gymnasium as gym
from tblib import pickling_support

T = TypeVar("T")


def registration(env_id: str) -> bytes | None:
    """What another process needs to know an environment that is registered here."""
    known = gym.registry.get(env_id)
    return None if known is None else bytes(cloudpickle.dumps(known))


def made(make: Callable[[], T], env_id: str, known: bytes | None) -> T:
    """What `make` makes; of an environment that is not known here, such as a notebook's, as there.

    Raises what `make` raises.
    """
    try:
        return make()
    except ValueError:
        if known is None or env_id in gym.registry:
            raise
        gym.registry[env_id] = pickle.loads(known)
        return make()


def packed(error: BaseException) -> bytes:
    """An error with its traceback, for `pickle.loads`; another kind if it cannot be sent."""
    pickling_support.install(error)
    try:
        found: bytes = cloudpickle.dumps(error)
        pickle.loads(found)
    except Exception:  # noqa: BLE001 (of what the error holds, whatever it is)
        like = RuntimeError(f"{type(error).__name__}: {error}")
        pickling_support.install(like)
        found = cloudpickle.dumps(like.with_traceback(error.__traceback__))
    return found

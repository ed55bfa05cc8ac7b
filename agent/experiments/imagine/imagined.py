"""What a model imagined beside what really happened, under the same actions.

Shapes: L decisions of an episode, T imagined steps, M futures (draws of z), D observation,
V numbers of it that are compared (see `pictures.Sight`; of vectors all), A action, H embedding,
S state, F features, Q positions and K numbers that code them (no joints: 0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldplan.agent.acting.actors import Switch
from worldplan.agent.acting.rollout import Reset, Step, rollout
from worldplan.agent.agent import Agent
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.probe import Probe, fit_probe
from worldplan.agent.experiments.imagine.pictures import Sight
from worldplan.envs import EnvConfig, SyncVectorEnv, make_env
from worldplan.envs.physics import physics_of
from worldplan.envs.pose import PoseCode
from worldplan.envs.wrappers import FlatEnv

# What the probe is fitted on: at least so many decisions, in rounds of so many episodes side by
# side, each this long at most.
_ROWS, _ROUND, _LONGEST = 3000, 6, 250
_PROBE_EPISODES = 1_000_000  # number of the first of them; smaller ones are looked at


@dataclass(frozen=True)
class Played:
    """An episode, or the first part of it."""

    observation: Tensor  # (L+1, D)
    action: Tensor  # (L, A)
    position: NDArray[np.float64]  # (L+1, Q) MuJoCo's qpos; Q = 0 where there is no MuJoCo


@dataclass(frozen=True)
class Reading:
    """A probe that says what features mean, and the scales on which to judge errors."""

    probe: Probe  # features -> (V+K,): what is compared of observations, and pose
    sight: Sight
    scale: Tensor  # (V,) standard deviation of each number; infinite where it never varied
    spread: float  # root mean square distance of embeddings from their mean

    def observation(self, features: Tensor) -> Tensor:
        """(..., F) -> (..., V)."""
        return self.probe(features)[..., : len(self.scale)]  # type: ignore[no-any-return]

    def pose(self, features: Tensor) -> NDArray[np.float64]:
        """(..., F) -> (..., K)."""
        read: NDArray[np.float64] = self.probe(features)[..., len(self.scale) :].double().numpy()
        return read

    def readable(
        self, features: Tensor, code: PoseCode, position: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """(K,) which numbers of positions (L+1, Q) can be read off their features (L+1, F).

        How far a body has run, no observation may tell. Over many episodes a probe still explains
        much of it, from who acted and how long; so it must explain half of how a joint moves
        within this episode, or err by less than a twentieth of the whole range.
        """
        pose = code.encode(position)
        error = np.square(self.pose(features) - pose).mean(0)
        whole = self.probe.targets.scale[len(self.scale) :].double().numpy()
        _, joint = np.unique(code.names, return_inverse=True)

        def of_joint(u: NDArray[np.float64]) -> NDArray[np.float64]:
            total: NDArray[np.float64] = np.bincount(joint, weights=u).astype(np.float64)[joint]
            return total

        known: NDArray[np.bool_] = of_joint(error) < of_joint(
            0.5 * pose.var(0) + np.square(whole / 20)
        )
        return known


@dataclass(frozen=True)
class Comparison:
    """T steps of M imagined futures beside the real one. Errors are shares of how far things
    usually lie apart: 0 is perfect, 1 as wrong as always guessing the mean."""

    sight: Sight
    real: Tensor  # (T+1, V) of observations that came
    read: Tensor  # (T+1, V) what the probe reads off their own features
    imagined: Tensor  # (T+1, M, V) what it reads off the imagined ones
    h: Tensor  # (T+1, H) embeddings of what came
    h_imagined: Tensor  # (T+1, M, H)
    scale: Tensor  # as in Reading
    spread: float
    position: NDArray[np.float64]  # (T+1, Q)
    ghosts: NDArray[np.float64]  # (T+1, M, Q); where a joint cannot be read, the real position
    hidden: list[str]  # names of the joints that cannot
    ended: bool  # the episode did, before the horizon
    passive: bool

    def observation_error(self, predicted: Tensor) -> Tensor:
        """Of observations (T+1, V) or (T+1, M, V): root mean square over those that vary."""
        real = self.real if predicted.ndim == 2 else self.real[:, None]
        error = ((predicted - real) / self.scale)[..., self.scale.isfinite()]
        return error.square().mean(-1).sqrt()

    def embedding_error(self, predicted: Tensor) -> Tensor:
        """Of embeddings (T+1, H) or (T+1, M, H): distance."""
        h = self.h if predicted.ndim == 2 else self.h[:, None]
        return (predicted - h).square().sum(-1).sqrt() / self.spread

    def coverage(self) -> Tensor:
        """(T+1,) share of the observations that vary whose real value lies between the 5% and 95%
        quantile of the imagined ones. 0.9 where z says exactly how unsure one must be."""
        low, high = self.imagined.quantile(torch.tensor([0.05, 0.95]), 1).unbind()
        inside = (self.real >= low) & (self.real <= high)
        return inside[:, self.scale.isfinite()].float().mean(-1)


def play(
    agent: Agent,
    worlds: Sequence[FlatEnv],
    seeds: Sequence[int],
    steps: int,
    actor: str,
    passive: int | None = None,
) -> list[Played]:
    """At most so many decisions of an episode in each world, planned as one batch, unexplored.

    The same seeds give the same episodes. From decision `passive` on nothing is chosen any more:
    the action is 0.
    """
    seen: list[list[NDArray[np.float32]]] = [[] for _ in worlds]
    positions: list[list[NDArray[np.float64]]] = [[] for _ in worlds]
    actions: list[list[NDArray[np.float32]]] = [[] for _ in worlds]
    done = 0  # decisions
    who = agent.actor(actor)
    if passive is not None:
        who = Switch(who, agent.actor("zero"), lambda: done < passive)
    events = rollout(who, SyncVectorEnv(worlds), seeds, agent.generator(seeds[0]))
    for event in islice(events, 1 + steps):
        active = event.mask if isinstance(event, Reset) else event.active
        for i in np.flatnonzero(active).tolist():
            seen[i].append(event.observation[i])
            positions[i].append(_position(worlds[i]))
            if isinstance(event, Step):
                actions[i].append(event.action[i])
        done += isinstance(event, Step)
    none = np.zeros((0, agent.spec.action.size), np.float32)
    return [
        Played(
            torch.from_numpy(np.stack(seen[i])),
            torch.from_numpy(np.stack(actions[i]) if actions[i] else none),
            np.stack(positions[i]),
        )
        for i in range(len(worlds))
    ]


@torch.no_grad()
def noticed(agent: Agent, played: Played) -> tuple[Tensor, Tensor]:
    """Embedding (L+1, H) and state (L+1, S) at each time, filtered as they are when acting."""
    x, a = played.observation, played.action
    past, times = agent.model.context - 1, len(x)
    state = agent.actor().initial(times)
    if past:

        def windows(u: Tensor) -> Tensor:
            """The `past` rows before each time; zeros before the first."""
            padded = torch.cat([u.new_zeros(past, u.shape[-1]), u])
            return padded.unfold(0, past, 1).transpose(1, 2)

        age = torch.arange(times)[:, None] + torch.arange(-past, 0)
        state = replace(state, observations=windows(x[:-1]), actions=windows(a), valid=age >= 0)
    return state.filter(agent.model, x)


@torch.no_grad()
def learn_to_read(
    agent: Agent, env: EnvConfig, actor: str, watch: Callable[[int], object] | None = None
) -> Reading:
    """Fits the probe on episodes of their own, as many of the actor as of random actions.

    `watch` is called with the number of decisions made so far.
    """
    worlds = [make_env(env) for _ in range(_ROUND)]
    played: list[Played] = []
    rows = 0
    while rows < _ROWS:
        for who in (actor, "random"):
            seeds = held_out_seeds(_ROUND, _PROBE_EPISODES + len(played))
            for episode in play(agent, worlds, seeds, _LONGEST, who):
                played.append(episode)
                rows += len(episode.observation)
            if watch is not None:
                watch(rows)
    h, s = (torch.cat(parts) for parts in zip(*(noticed(agent, p) for p in played), strict=True))
    sight = Sight(agent.spec.observation)
    x = sight.small(torch.cat([p.observation for p in played]))
    position, code = np.concatenate([p.position for p in played]), pose_code(worlds[0])
    pose = position if code is None else code.encode(position)
    for world in worlds:
        world.close()
    deviation = x.std(0)
    return Reading(
        fit_probe(agent.model.features(h, s), torch.cat([x, torch.from_numpy(pose).float()], 1)),
        sight,
        torch.where(deviation > 1e-4, deviation, torch.inf),
        float((h - h.mean(0)).square().sum(-1).mean().sqrt().clamp(min=1e-12)),
    )


@dataclass(frozen=True)
class Futures:
    """Which futures are imagined."""

    start: int  # decision from which on
    horizon: int  # decisions, at most
    count: int = 64  # to tell the spread over z
    seed: int = 0  # of z
    passive: bool = False  # no actions were chosen from `start` on


@torch.no_grad()
def compare(
    agent: Agent, played: Played, reading: Reading, code: PoseCode | None, futures: Futures
) -> Comparison:
    """Imagines futures under the actions that were taken; the agent is on the CPU."""
    start = futures.start
    assert start < len(played.action), "there must be something to imagine"
    model, actions = agent.model, played.action[start : start + futures.horizon]
    h, s = noticed(agent, played)
    generator = torch.Generator().manual_seed(futures.seed)
    noise = torch.randn(len(actions), futures.count, model.noise_dim, generator=generator)
    future = model.imagine(
        h[start].expand(futures.count, -1),
        s[start].expand(futures.count, -1),
        actions[:, None].expand(-1, futures.count, -1),
        noise,
    )
    now = slice(start, start + len(actions) + 1)
    position = played.position[now]
    ghosts = np.repeat(position[:, None], futures.count, 1)
    hidden: list[str] = []
    if code is not None:
        known = reading.readable(model.features(h, s), code, played.position)
        read = reading.pose(future.features)
        ghosts = code.decode(np.where(known, read, code.encode(ghosts)))
        hidden = list(dict.fromkeys(np.array(code.names)[~known].tolist()))
    return Comparison(
        sight=reading.sight,
        real=reading.sight.small(played.observation[now]),
        read=reading.observation(model.features(h[now], s[now])),
        imagined=reading.observation(future.features),
        h=h[now],
        h_imagined=future.h,
        scale=reading.scale,
        spread=reading.spread,
        position=position,
        ghosts=ghosts,
        hidden=hidden,
        ended=len(actions) < futures.horizon,
        passive=futures.passive,
    )


def pose_code(world: FlatEnv) -> PoseCode | None:
    """None where there is no MuJoCo."""
    found = physics_of(world)
    return None if found is None else PoseCode(found[0])


def _position(world: FlatEnv) -> NDArray[np.float64]:
    found = physics_of(world)
    return np.zeros(0) if found is None else np.array(found[1].qpos)

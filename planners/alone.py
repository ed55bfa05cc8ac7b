"""Planning alone: the best actions for a cost of one line, on NumPy or torch.

    found = worldplan.plan(lambda a: ((a - 0.3) ** 2).sum((1, 2)), size=2)
    found.action

Shapes: N candidate sequences, M latent samples, T horizon, A action, K choices, Z latent dimension.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from worldplan.planners import (
    PLANNERS,
    ActionSpace,
    Box,
    Categorical,
    Plan,
    Planner,
    PlannerConfig,
    PlannerConfigUnion,
    PlanState,
    make_planner,
)

_CONFIG: TypeAdapter[PlannerConfig] = TypeAdapter(PlannerConfigUnion)


@dataclass(frozen=True)
class Solution:
    """What `plan` found. Actions are as the space has them, in the arrays that were asked for."""

    action: Any  # (A,) to execute now; one number or (K,) numbers of choices
    actions: Any  # (T, A), or (T) or (T, K)
    cost: float  # predicted, after the risk measure
    spread: float  # its standard deviation over the latent samples
    state: tuple[PlanState, Tensor]  # for the next call: the search starts where this one ended
    plan: Plan  # the same and more, with actions in [-1, 1] or one-hot


def plan(
    cost: Callable[..., Any],
    space: Any = None,
    *,
    low: Any = -1.0,
    high: Any = 1.0,
    size: int | None = None,
    planner: str | Planner[Any] = "mppi",
    arrays: Literal["numpy", "torch"] = "numpy",
    latent_dim: int = 0,
    state: tuple[PlanState, Tensor] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Solution:
    """Searches for the actions of lowest cost.

        found = worldplan.plan(cost, env.action_space, planner="icem", horizon=20, samples=200)
        env.step(found.action)
        found = worldplan.plan(cost, env.action_space, ..., state=found.state)

    Args:
        cost: of candidate sequences (N, T, A) -> (N,); lower is better. Of choices they are whole
            numbers, (N, T) of one or (N, T, K) of several. With a `latent_dim`, of sequences and
            standard normal noise (M, T, Z) -> (N, M).
        space: of actions, as Gymnasium has it: a vector, or choices. None: a vector of `size`
            numbers from `low` to `high`.
        low, high: numbers, or one for each of A.
        size: A, where both are numbers; default: 1.
        planner: a name, or a planner, which has its own settings.
        arrays: what the cost gets, and what is returned. `gradient` needs torch.
        latent_dim: Z, of a cost that depends on chance.
        state: of the last solution, where time has gone on by one step.
        seed: of the search, where there is no state.
        settings: of the planner, such as horizon, samples, iterations, risk, deadline_ms.

    Raises:
        ValueError: a space or a setting that does not fit, or costs of another shape.
        FloatingPointError: no candidate has a finite cost.
    """
    if arrays not in ("numpy", "torch"):
        raise ValueError(f"expected arrays='numpy' or 'torch', got {arrays!r}")
    actions, native = _space(space, low, high, size)
    search = planner
    if isinstance(search, str):
        search = make_planner(_config(search, settings), actions)
    elif settings:
        raise ValueError(f"the planner has its own settings; expected no {', '.join(settings)}")
    if search.differentiates and arrays != "torch":
        raise ValueError(
            f"planner {search.config.kind!r} follows gradients; expected arrays='torch'"
        )

    def out(tensor: Tensor) -> Any:
        return tensor if arrays == "torch" else tensor.numpy()[()]

    def of_batch(sequences: Tensor, noise: Tensor) -> Tensor:
        given = [out(native(sequences[0]))] + ([out(noise)] if latent_dim else [])
        found = torch.as_tensor(cost(*given)).to(torch.float32)
        n, m = sequences.shape[1], len(noise)
        expected = (n, m) if latent_dim else (n,)
        if found.shape != expected:
            names = "sequences and latent samples" if latent_dim else "sequences"
            raise ValueError(f"expected costs {expected} of {names}, got {tuple(found.shape)}")
        return found.reshape(1, n, -1).expand(-1, -1, m)

    generator = torch.Generator().manual_seed(seed)
    if state is not None:
        generator.set_state(state[1])
    before = search.initial_state(1) if state is None else state[0]
    found, after = search.plan(of_batch, before, search.draw_noise(1, latent_dim, generator))
    best = native(found.actions[0])
    return Solution(
        action=out(best[0]),
        actions=out(best),
        cost=float(found.cost[0]),
        spread=float(found.spread[0]),
        state=(after, generator.get_state()),
        plan=found,
    )


def _space(
    space: Any, low: Any, high: Any, size: int | None
) -> tuple[ActionSpace, Callable[[Tensor], Tensor]]:
    """The planner's action space, and what makes its actions (..., A) those of the given one."""
    if space is not None and not hasattr(space, "low"):
        return _choices(space)
    if space is not None:
        low, high = space.low, space.high
    first, last = (torch.as_tensor(end, dtype=torch.float32) for end in (low, high))
    width = size or max(first.numel(), last.numel())
    try:
        first, last = first.expand(width), last.expand(width)
        fits = bool((first < last).all()) and math.isfinite(float((last - first).sum()))
    except RuntimeError:  # of another shape
        fits = False
    if not fits:
        raise ValueError(
            "expected a vector of actions with finite bounds, low below high, got "
            + (f"{low} to {high}" if space is None else str(space))
        )

    def native(actions: Tensor) -> Tensor:
        return torch.lerp(first, last, (actions + 1) / 2)

    return Box(len(first)), native


def _choices(space: Any) -> tuple[ActionSpace, Callable[[Tensor], Tensor]]:
    if hasattr(space, "nvec"):
        counts = [int(n) for n in space.nvec]
    elif hasattr(space, "n"):  # Discrete, or MultiBinary
        counts = [2] * space.shape[0] if space.shape else [int(space.n)]
    else:
        raise ValueError(f"expected a space of vectors or of choices, got {space!r}")
    start = torch.as_tensor(getattr(space, "start", 0)).expand(len(counts))

    actions = Categorical(tuple(counts))

    def native(sequences: Tensor) -> Tensor:
        chosen = actions.chosen(sequences) + start
        return chosen if space.shape else chosen[..., 0]

    return actions, native


def _config(kind: str, settings: Mapping[str, Any]) -> PlannerConfig:
    """Raises ValueError for another planner or setting; the message gives the nearest one."""
    if kind not in PLANNERS:
        raise ValueError(_unknown("planner", kind, list(PLANNERS)))
    config = type(_CONFIG.validate_python({"kind": kind}))
    for name in settings:
        if name not in config.model_fields:
            raise ValueError(_unknown("setting", name, sorted({*config.model_fields} - {"kind"})))
    try:
        return config.model_validate(dict(settings))
    except ValidationError as error:
        said = [".".join(map(str, e["loc"])) + f": {e['msg']}, got {e['input']!r}"
                for e in error.errors()]  # fmt: skip
        raise ValueError("; ".join(said)) from error


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"no {what} is called {name!r}. Did you mean {near!r}? Choices: {', '.join(known)}"

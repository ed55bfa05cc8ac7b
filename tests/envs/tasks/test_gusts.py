"""Gusts: its dynamics, its random gusts, and the return of each route."""

import math
from typing import Any

import numpy as np
import pytest

from worldplan.envs import EnvConfig, make_env
from worldplan.envs.tasks.gorge import (
    FINISH,
    NEAR,
    SAFE,
    SPEED,
    TURN,
    Route,
    drift,
    on_land,
    outcomes,
    route_of,
    steer,
)
from worldplan.envs.wrappers import FlatEnv

ID = "worldplan/Gusts-v0"
ROUTES: tuple[Route, ...] = ("bridge", "safe")


def world(**kwargs: Any) -> FlatEnv:
    return make_env(EnvConfig(id=ID, kwargs={"start": 0.0, **kwargs}))


def act(heading: float) -> np.ndarray:
    return np.array([heading], np.float32)


def cross(env: FlatEnv, route: Route, seed: int) -> tuple[np.ndarray, float, dict[str, Any]]:
    """Observations, return and last info of an episode that `steer` controls."""
    x, _ = env.reset(seed=seed)
    seen, total, over = [x], 0.0, False
    while not over:
        x, reward, terminated, truncated, info = env.step(act(steer(route, *x[:2].tolist())))
        seen.append(x)
        total += float(reward)
        over = terminated or truncated
    assert terminated
    return np.stack(seen), total, info


def documented(before: np.ndarray, a: float, wind: float) -> list[float]:
    """A decision by the equation in the docstring of the class."""
    (x, y, vx, vy), h, k = before.tolist(), 0.02, 100.0
    ux, uy = 1.25 * math.cos(math.radians(75) * a), 1.25 * math.sin(math.radians(75) * a)
    for _ in range(10):
        vx += h * k * (ux - vx) / (1 + h * k)
        vy += h * (k * (uy - vy) - k * wind) / (1 + h * k)
        x, y = x + h * vx, y + h * vy
    return [x, y, vx, vy]


@pytest.mark.parametrize("gust", [0.0, 1.0])
def test_it_moves_as_documented(gust: float) -> None:
    env = world(gust=gust, strength=0.4)
    x, _ = env.reset(seed=1)
    np.testing.assert_allclose(x, [0, 0, SPEED, 0])
    # The fourth decision is the first that starts on the bridge: it meets the gust.
    for t, a in enumerate([0.2, -0.2, 0.0, 0.0, 0.1]):
        assert (x[0] >= NEAR) == (t >= 3)
        wind = 0.4 * gust * (t == 3)
        expected = documented(x, a, wind)
        x, reward, terminated, _, info = env.step(act(a))
        np.testing.assert_allclose(x, expected, atol=1e-5)
        assert reward == pytest.approx(-0.15)
        assert not terminated
        assert info["gust"] == (wind > 0)


@pytest.mark.parametrize(("route", "strength"), [("bridge", 3.0), ("bridge", 2.0), ("safe", 3.0)])
@pytest.mark.parametrize("gust", [0.0, 1.0])
def test_the_return_of_each_route_is_its_closed_form(
    route: Route, strength: float, gust: float
) -> None:
    seen, total, info = cross(world(gust=gust, strength=strength), route, 0)
    (value,) = (r for p, r in outcomes(route, gust, strength) if p == 1)
    assert total == pytest.approx(value)
    assert route_of(seen) == route
    fatal = route == "bridge" and gust == 1 and strength == 3
    assert info["fell"] == fatal
    assert (seen[-1, 0] >= FINISH) != fatal
    assert on_land(*seen[-1, :2].tolist()) != fatal


def test_with_the_default_gust_the_mean_prefers_the_bridge_and_risk_the_safe_way() -> None:
    (safe,) = (r for _, r in outcomes("safe"))
    (no, across), (yes, blown) = outcomes("bridge")
    assert (no, yes) == (0.8, 0.2)
    assert (safe, across, blown) == pytest.approx((0.25, 0.85, -0.6))
    assert no * across + yes * blown > safe + 0.3
    assert blown < safe - 0.8  # the mean of the worst fifth
    (no, across), (yes, blown) = outcomes("bridge", gust=0.5)
    assert no * across + yes * blown < safe - 0.1


def test_a_gust_is_fatal_if_it_moves_the_ball_by_more_than_the_width_of_the_bridge() -> None:
    assert drift(1.0) == pytest.approx(documented(np.zeros(4), 0.0, -1.0)[1])
    assert outcomes("bridge", 0.3, 0.5 / drift(1.0) - 0.01)[1][0] == 0
    assert outcomes("bridge", 0.3, 0.5 / drift(1.0) + 0.01)[1][0] == 0.3


def test_gusts_have_their_probability_and_are_not_observed_in_advance() -> None:
    env = world(gust=0.3)
    episodes = [cross(env, "bridge", seed) for seed in range(400)]
    fell = np.array([info["fell"] for *_, info in episodes])
    assert fell.mean() == pytest.approx(0.3, abs=3 * math.sqrt(0.3 * 0.7 / 400))
    # Before the decision with the gust, all episodes have the same observations.
    before = np.stack([seen[:4] for seen, *_ in episodes])
    assert (before == before[0]).all()
    heights = np.array([seen[4, 1] for seen, *_ in episodes])
    assert len(np.unique(heights.round(4))) == 2


def test_no_gust_on_the_safe_way() -> None:
    env = world(gust=1.0)
    assert not any(cross(env, "safe", seed)[2]["gust"] for seed in range(3))


def test_the_same_seed_gives_the_same_episode() -> None:
    env, other = world(start=None), world(start=None)
    for seed in (0, 1, 2):
        for route in ROUTES:
            first, second = cross(env, route, seed), cross(other, route, seed)
            np.testing.assert_array_equal(first[0], second[0])
    starts = np.stack([env.reset(seed=seed)[0] for seed in range(200)])
    assert starts[:, 0].min() < 0 < 0.4 < starts[:, 0].max() < NEAR
    assert starts[:, 3].min() < -1 < 1 < starts[:, 3].max()
    np.testing.assert_allclose(np.hypot(*starts[:, 2:].T), SPEED, rtol=1e-6)
    assert starts[:, 1].min() < -0.2
    assert starts[:, 1].max() > SAFE


def test_every_episode_terminates_whatever_the_actions() -> None:
    """The ball always crosses the gorge or falls into it: no episode is truncated."""
    env = world(start=None)
    rng = np.random.default_rng(0)
    for seed in range(20):
        env.reset(seed=seed)
        over = truncated = False
        while not over:
            *_, over, truncated, _ = env.step(act(rng.choice([-1.0, 1.0])))
            assert not truncated
    assert SPEED * math.cos(TURN) * 0.2 * 40 > FINISH


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"gust": 1.5}, r"expected gust in \[0.0, 1.0\], got 1.5; nearest: 1.0"),
        ({"strength": -1}, r"expected strength in .* nearest: 0.0"),
        ({"start": 9.0}, r"expected start in .* nearest: 2.4"),
        ({"gusts": 0.1}, "cannot be made with"),
    ],
)
def test_settings_out_of_range_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_env(EnvConfig(id=ID, kwargs=kwargs))


def test_a_misspelt_id_of_our_own_tasks_gives_the_nearest() -> None:
    with pytest.raises(ValueError, match="worldplan/Gusts-v0"):
        make_env(EnvConfig(id="worldplan/Gust-v0"))

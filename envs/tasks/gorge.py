"""The gorge of `Gusts`: its land, the ball's dynamics, and the return of each route across.

Shapes: ... any leading shape, L decisions of an episode.
"""

import functools
import math
import operator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Route = Literal["bridge", "safe"]

SPEED = 1.25  # m/s
TURN = math.radians(75)  # heading at action 1
TIMESTEP, FRAMES, KV = 0.02, 10, 100.0  # s, physics steps per decision, servo gain in 1/s
NEAR, FAR, FINISH = 0.7, 1.3, 1.45  # x in m: the gorge's edges and the finish
HALF_WIDTH = 0.25  # of the bridge, along y = 0
SAFE = 1.4  # y in m: the gorge ends here, beyond it the land is safe
LOW, HIGH = -0.6, 2.4  # y in m: edges of the land
STEP_REWARD, GOAL_REWARD = -0.15, 1.75
GUST, STRENGTH = 0.2, 3.0  # defaults: probability, and speed in m/s

LAND = {  # x from, to, y from, to
    "start": (-0.4, NEAR, LOW, HIGH),
    "bridge": (NEAR, FAR, -HALF_WIDTH, HALF_WIDTH),
    "safe": (NEAR, FAR, SAFE, HIGH),
    "end": (FAR, FINISH + 0.35, LOW, HIGH),
}


def on_land(x: Any, y: Any) -> Any:
    """Whether the ball's centre is above land, for x and y (...) in m."""
    lands = [(a <= x) & (x <= b) & (c <= y) & (y <= d) for a, b, c, d in LAND.values()]
    return functools.reduce(operator.or_, lands)


def on_bridge(x: Any, y: Any) -> Any:
    """Whether x and y (...) in m are on the bridge, where the first decision may meet a gust."""
    return (x >= NEAR) & (x < FAR) & (abs(y) <= HALF_WIDTH)


def velocity(action: Any) -> Floats:
    """Target velocity (..., 2) of the servo, in m/s, for headings (...) in [-1, 1]."""
    return SPEED * np.stack([np.cos(TURN * action), np.sin(TURN * action)], -1)


def wind_force(strength: float) -> float:
    """Force of a gust of `strength` m/s, along y, in N."""
    return -KV * strength


def drift(strength: float) -> float:
    """Distance in m by which a gust of `strength` m/s moves the ball within its decision.

    The equation of motion is linear, so that the effect of steering is added to it.
    """
    lag = 1 / (1 + TIMESTEP * KV)  # fraction of the velocity error that remains after a step
    steps = sum(1 - lag**i for i in range(1, FRAMES + 1))
    return strength * TIMESTEP * steps


def outcomes(
    route: Route, gust: float = GUST, strength: float = STRENGTH
) -> list[tuple[float, float]]:
    """(probability, return) of each outcome of the best episode by a route from x = 0, y = 0.

    In closed form: the ball moves along straight lines at constant speed.
    """
    pace = SPEED * TIMESTEP * FRAMES  # m per decision
    if route == "safe":
        length = math.hypot(NEAR, SAFE) + FINISH - NEAR  # round the gorge's corner
        return [(1.0, GOAL_REWARD + STEP_REWARD * math.ceil(length / pace))]
    across = GOAL_REWARD + STEP_REWARD * math.ceil(FINISH / pace)
    blown_off = STEP_REWARD * (math.ceil(NEAR / pace) + 1)
    fatal = gust if drift(strength) > 2 * HALF_WIDTH else 0.0
    return [(1 - fatal, across), (fatal, blown_off)]


def steer(route: Route, x: float, y: float) -> float:
    """The action in [-1, 1] that follows a route from x, y in m.

    The route "bridge" keeps to the windward side; "safe" goes round the corner of the gorge.
    """
    aim_x, aim_y = NEAR - 0.01, SAFE + 0.01
    if route == "bridge":
        aim_x, aim_y = NEAR - 0.05, HALF_WIDTH - 0.05
    ahead = x < NEAR and (route == "bridge" or y < aim_y)
    heading = math.atan2(aim_y - y, max(aim_x - x, 0.01)) if ahead else 0.0
    return min(1.0, max(-1.0, heading / TURN))


def route_of(observations: NDArray[Any]) -> Route | None:
    """The route of an episode, from its observations (L+1, 4); None if it took neither."""
    for x, y, *_ in observations:
        if NEAR <= x < FAR and abs(y) <= SAFE:
            # Farther from the bridge the ball has missed it.
            return "bridge" if abs(y) <= 0.6 else None
        if x >= NEAR and y > SAFE:
            return "safe"
    return None

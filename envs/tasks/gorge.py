"""The gorge of `Gusts`: its land, how the ball is driven, and the expected return of each way.

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
TIMESTEP, FRAMES, KV = 0.02, 10, 100.0  # s, steps a decision, servo's 1/s
NEAR, FAR, FINISH = 0.7, 1.3, 1.45  # x in m: the gorge's edges and the finish
HALF_WIDTH = 0.25  # of the bridge, along y = 0
SAFE = 1.4  # y in m: beyond, there is no gorge
LOW, HIGH = -0.6, 2.4  # y in m: ends of the land
STEP_REWARD, GOAL_REWARD = -0.15, 1.75
GUST, STRENGTH = 0.2, 3.0  # probability, m/s: as it is if nothing else is asked for

LAND = {  # x from, to, y from, to
    "start": (-0.4, NEAR, LOW, HIGH),
    "bridge": (NEAR, FAR, -HALF_WIDTH, HALF_WIDTH),
    "safe": (NEAR, FAR, SAFE, HIGH),
    "end": (FAR, FINISH + 0.35, LOW, HIGH),
}


def on_land(x: Any, y: Any) -> Any:
    """Whether the ball's centre has ground under it, for numbers or arrays of one shape."""
    lands = [(a <= x) & (x <= b) & (c <= y) & (y <= d) for a, b, c, d in LAND.values()]
    return functools.reduce(operator.or_, lands)


def on_bridge(x: Any, y: Any) -> Any:
    """Whether a decision that begins there, if it is the first, may be met by a gust."""
    return (x >= NEAR) & (x < FAR) & (abs(y) <= HALF_WIDTH)


def velocity(action: Any) -> Floats:
    """What the servo is told (..., 2), in m/s, of headings (...) in [-1, 1]."""
    return SPEED * np.stack([np.cos(TURN * action), np.sin(TURN * action)], -1)


def pull(strength: float) -> float:
    """Of a gust of `strength` m/s, along y, in N."""
    return -KV * strength


def drift(strength: float) -> float:
    """Metres that wind of `strength` m/s moves the ball within its decision, seen on its own.

    The equation of motion is linear, so that what steering does is added to it.
    """
    lag = 1 / (1 + TIMESTEP * KV)  # of the velocity wanted, what is still missing after a step
    steps = sum(1 - lag**i for i in range(1, FRAMES + 1))
    return strength * TIMESTEP * steps


def outcomes(
    route: Route, gust: float = GUST, strength: float = STRENGTH
) -> list[tuple[float, float]]:
    """(probability, return) of what can come of the best run from x = 0, y = 0 by a route.

    In closed form: straight lines, each as many decisions as it is long.
    """
    pace = SPEED * TIMESTEP * FRAMES  # m a decision
    if route == "safe":
        length = math.hypot(NEAR, SAFE) + FINISH - NEAR  # round the gorge's corner
        return [(1.0, GOAL_REWARD + STEP_REWARD * math.ceil(length / pace))]
    across = GOAL_REWARD + STEP_REWARD * math.ceil(FINISH / pace)
    blown_off = STEP_REWARD * (math.ceil(NEAR / pace) + 1)
    fatal = gust if drift(strength) > 2 * HALF_WIDTH else 0.0
    return [(1 - fatal, across), (fatal, blown_off)]


def steer(route: Route, x: float, y: float) -> float:
    """The action that follows a route: of the bridge its windward side, of the gorge its corner."""
    aim_x, aim_y = NEAR - 0.01, SAFE + 0.01
    if route == "bridge":
        aim_x, aim_y = NEAR - 0.05, HALF_WIDTH - 0.05
    ahead = x < NEAR and (route == "bridge" or y < aim_y)
    heading = math.atan2(aim_y - y, max(aim_x - x, 0.01)) if ahead else 0.0
    return min(1.0, max(-1.0, heading / TURN))


def route_of(observations: NDArray[Any]) -> Route | None:
    """The way that an episode (L+1, 4) took over the gorge; None if it came to neither."""
    for x, y, *_ in observations:
        if NEAR <= x < FAR and abs(y) <= SAFE:
            # Beside the bridge, a ball's width and more, there is only air.
            return "bridge" if abs(y) <= 0.6 else None
        if x >= NEAR and y > SAFE:
            return "safe"
    return None

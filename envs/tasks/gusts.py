"""A gorge, a narrow bridge with random gusts, and a long safe way round: a task for risk measures.

The ball moves at constant speed and is only steered, so that it cannot wait. A risk measure
applies to the latent noise within the planner's horizon, and the value after the horizon is an
expectation: if waiting were free, a plan could postpone the bridge again and again. From the start
the bridge is three decisions away, and eleven at most. With a horizon of eight, delaying costs
more than the safe way.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces

from worldplan.envs.tasks.from_xml import FromXML
from worldplan.envs.tasks.gorge import (
    FINISH,
    FRAMES,
    GOAL_REWARD,
    GUST,
    HIGH,
    KV,
    LAND,
    LOW,
    NEAR,
    STEP_REWARD,
    STRENGTH,
    TIMESTEP,
    Floats,
    on_bridge,
    on_land,
    velocity,
    wind_force,
)

_COLOURS = {"bridge": "0.55 0.38 0.22 1"}
_BALL, _FALLEN = (0.95, 0.6, 0.1, 1.0), (0.8, 0.1, 0.1, 1.0)


def _box(name: str) -> str:
    left, right, low, high = LAND[name]
    colour = _COLOURS.get(name, "0.5 0.62 0.42 1")
    return (
        f'<geom name="{name}" type="box" pos="{(left + right) / 2} {(low + high) / 2} -0.1" '
        f'size="{(right - left) / 2} {(high - low) / 2} 0.1" rgba="{colour}"/>'
    )


# Streaks that are visible during a gust, which blows towards -y across the bridge.
_WIND = [f"wind {i}" for i in range(4)]
_STREAKS = "".join(
    f'<geom name="{name}" type="capsule" size="0.012" rgba="1 1 1 0" '
    f'fromto="{NEAR + 0.06 + 0.16 * i} {0.75 - 0.12 * (i % 2)} 0.12 '
    f'{NEAR + 0.06 + 0.16 * i} {0.2 - 0.12 * (i % 2)} 0.12"/>'
    for i, name in enumerate(_WIND)
)
_XML = f"""
<mujoco model="gusts">
  <size nuserdata="1"/>
  <option timestep="{TIMESTEP}" gravity="0 0 0" integrator="implicitfast"/>
  <visual><headlight ambient="0.55 0.55 0.55" diffuse="0.45 0.45 0.45" specular="0 0 0"/></visual>
  <default><geom contype="0" conaffinity="0"/></default>
  <worldbody>
    <camera name="above" pos="0.7 0.25 4.1" xyaxes="1 0 0 0 0.985 0.17" fovy="44"/>
    <geom name="floor" type="plane" size="8 8 0.1" pos="0 0 -0.9" rgba="0.13 0.2 0.3 1"/>
    {"".join(_box(name) for name in LAND)}
    <geom name="finish" type="box" pos="{FINISH} {(LOW + HIGH) / 2} 0.001"
          size="0.02 {(HIGH - LOW) / 2} 0.002" rgba="0.95 0.95 0.95 1"/>
    {_STREAKS}
    <body name="ball">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <geom name="ball" type="sphere" size="0.055" pos="0 0 0.06" mass="1"/>
    </body>
  </worldbody>
  <actuator>
    <velocity joint="x" kv="{KV}"/>
    <velocity joint="y" kv="{KV}"/>
  </actuator>
</mujoco>
"""


class Gusts(FromXML):
    """A ball that crosses a gorge, by a bridge or by a safe way round its end.

    Observation (4,): x, y in m and their velocities in m/s. Action (1,): heading, from 75 degrees
    to the left of +x at 1 to 75 degrees to the right at -1. A servo follows the target velocity u
    of 1.25 m/s in that direction. A decision is ten steps of h = 0.02 s:
    v' = v + (h k (u - v) + h f) / (1 + h k), x' = x + h v', with k = 100/s, mass 1 kg and the
    force f of the wind.

    In the first decision that starts on the bridge there is, with probability `gust`, wind of
    `strength` m/s towards -y: f = -k strength during that decision, which moves the ball by
    `drift(strength)`. It cannot be observed in advance. If it moves the ball by more than the
    bridge's width of 0.5 m, the ball falls. Else the ball stays on the bridge if it was near the
    windward side.

    Every decision costs 0.15. Passing x = 1.45 gives 1.75 and ends the episode. A fall, when the
    centre of the ball is not above land, ends it without a reward. An episode starts at x = 0,
    y = `start` with heading 0. With `start` None it starts at a random place on the near side in a
    random direction, so that data cover both ways, whichever the agent prefers.

    Raises:
        ValueError: gust, strength or start out of range.
    """

    xml = _XML
    metadata = {  # noqa: RUF012 (gymnasium's own)
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 5,
    }

    def __init__(
        self,
        gust: float = GUST,
        strength: float = STRENGTH,
        start: float | None = None,
        **kwargs: Any,
    ) -> None:
        _check("gust", gust, 0.0, 1.0)
        _check("strength", strength, 0.0, 10.0)
        if start is not None:
            _check("start", start, LOW, HIGH)
        self.gust, self.strength, self.start = gust, strength, start
        space = spaces.Box(-np.inf, np.inf, (4,), np.float64)
        super().__init__(FRAMES, space, **kwargs)
        # The heading; the model's controls are the two target velocities of the servo.
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def step(  # type: ignore[override]  # Gymnasium's asks for a NumPy reward and info
        self, action: Any
    ) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        gusts = False
        if on_bridge(*self.data.qpos) and not self.data.userdata[0]:
            # A gust may come once per episode; MuJoCo's user data records that it was decided.
            self.data.userdata[0], gusts = 1, bool(self.np_random.random() < self.gust)
        self.data.ctrl[:] = velocity(float(action[0]))
        self.data.qfrc_applied[1] = wind_force(self.strength) * gusts
        fell = crossed = False
        for _ in range(self.frame_skip):
            mujoco.mj_step(self.model, self.data)
            x, y = self.data.qpos
            fell = fell or not on_land(x, y)  # the decision is completed
            crossed = not fell and x >= FINISH
            if crossed:
                break
        self._show(gusts, fell)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        reward = STEP_REWARD + GOAL_REWARD * crossed
        over, info = bool(fell or crossed), {"gust": gusts, "fell": fell}
        return self._observation(), reward, over, False, info

    def reset_model(self) -> Floats:
        x, y, heading = 0.0, self.start, 0.0
        if y is None:
            x = self.np_random.uniform(-0.1, NEAR - 0.2)
            y = self.np_random.uniform(LOW + 0.2, HIGH - 0.2)
            heading = self.np_random.uniform(-1, 1)
        self.data.userdata[:], self.data.qfrc_applied[:] = 0, 0
        self.set_state(np.array([x, y]), velocity(heading))  # type: ignore[no-untyped-call]
        self._show(False, False)
        return self._observation()

    def _observation(self) -> Floats:
        return np.concatenate([self.data.qpos, self.data.qvel])

    def _show(self, gusts: bool, fell: bool) -> None:
        for name in _WIND:
            self.model.geom(name).rgba[3] = gusts
        self.model.geom("ball").rgba[:] = _FALLEN if fell else _BALL


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        nearest = min(high, max(low, value))
        raise ValueError(f"expected {name} in [{low}, {high}], got {value}; nearest: {nearest}")

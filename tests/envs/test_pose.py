"""Poses: encoded as numbers, and drawn."""

import os

import mujoco
import numpy as np
import pytest
from toy_envs import Slider  # type: ignore[import-not-found]

from worldplan.envs import EnvConfig, make_env
from worldplan.envs.physics import physics_of
from worldplan.envs.pose import PoseCode
from worldplan.envs.rendering.ghosts import GhostRenderer

ALL_JOINTS = """<mujoco><compiler angle="radian"/><worldbody>
  <body><joint name="bent" type="hinge" range="-2 2" limited="true"/><geom size="1"/>
    <body><joint type="hinge"/><geom size="1"/>
      <body><joint name="ball" type="ball"/><geom size="1"/></body></body></body>
  <body><freejoint name="free"/><geom size="1"/></body>
  <body><joint name="slide" type="slide"/><geom size="1"/></body>
</worldbody></mujoco>"""

drawn = pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")


def test_every_kind_of_joint_is_encoded_and_decoded() -> None:
    model = mujoco.MjModel.from_xml_string(ALL_JOINTS)
    code, rng = PoseCode(model), np.random.default_rng(0)
    position = rng.normal(size=(7, 3, model.nq))
    for at in (2, 9):  # the ball's quaternion and the free body's
        position[..., at : at + 4] /= np.linalg.norm(position[..., at : at + 4], axis=-1)[..., None]
        position[..., at] = np.abs(position[..., at])
    position[..., 1] = rng.uniform(-3, 3, (7, 3))
    numbers = code.encode(position)
    assert numbers.shape == (7, 3, len(code.names)) == (7, 3, 15)
    assert code.names[:5] == ["bent", "free x", "free y", "free z", "slide"]
    assert code.names[5:] == ["joint 1"] * 2 + ["ball"] * 4 + ["free"] * 4
    np.testing.assert_allclose(code.decode(numbers), position, atol=1e-12)


def test_the_same_pose_has_one_code() -> None:
    model = mujoco.MjModel.from_xml_string(ALL_JOINTS)
    code, position = PoseCode(model), np.random.default_rng(0).normal(size=model.nq)
    other = position.copy()
    other[1] += 2 * np.pi  # the unlimited hinge
    other[2:6] *= -1  # the same rotation
    np.testing.assert_allclose(code.encode(other), code.encode(position), atol=1e-12)
    other[0] += 2 * np.pi  # the limited hinge
    assert not np.allclose(code.encode(other), code.encode(position))


@drawn
@pytest.mark.parametrize("name", ["InvertedPendulum-v5", "HalfCheetah-v5"])
def test_without_ghosts_the_picture_equals_the_environments_own(name: str) -> None:
    env = make_env(EnvConfig(id=name), render_mode="rgb_array")
    env.reset(seed=0)
    found = physics_of(env)
    assert found is not None
    position = np.array(found[1].qpos)
    renderer = GhostRenderer(env, position)
    picture = renderer.draw(position, position[:0, None], 0.3)
    own = np.asarray(env.render(), np.int64)
    renderer.close()
    env.close()
    assert np.abs(picture - own).mean() < 2
    assert own.std() > 5


@drawn
def test_a_ghost_is_translucent_and_at_its_position() -> None:
    env = Slider()
    env.reset(seed=0)
    real = np.zeros(2)
    renderer = GhostRenderer(env, real, 120, 120)
    alone, on, beside, again = (
        renderer.draw(real, np.array(ghosts).reshape(-1, 2), 0.4).astype(np.int64)
        for ghosts in ([], [real], [[0.3, 0.0]], [])
    )
    renderer.close()
    body = (alone != alone[0, 0]).any(-1)
    changed = (on != alone).any(-1)
    assert body.mean() > 0.02
    assert (changed & ~body).mean() < 0.01, "the ghost covers the real body"
    assert (changed & body).sum() > 0.5 * body.sum()
    assert ((beside != alone).any(-1) & ~body).sum() > 0.2 * body.sum()
    np.testing.assert_array_equal(alone, again)

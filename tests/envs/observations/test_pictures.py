"""Pictures in observations: their layouts, sizes, stacks, and what is refused."""

import os
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from worldplan.envs import EnvConfig, EnvironmentSpec, make_env, make_vector
from worldplan.envs.observations.pictures import flattened, resized
from worldplan.envs.rendering.frames import rendered
from worldplan.envs.spec import ObservationSpec

PICTURE = spaces.Box(0, 255, (64, 48, 3), np.uint8)
VECTOR = spaces.Box(-1, 1, (2, 3), np.float32)
FOUR = np.array([[0, 100, 8, 8], [100, 200, 8, 8], [4, 4, 16, 16], [4, 4, 16, 16]], np.uint8)


class Seen(gym.Env[Any, Any]):
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, space: Any) -> None:
        self.observation_space = space

    def reset(self, **how: Any) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def made(space: Any, **settings: Any) -> Any:
    gym.register("toy/Seen-v0", lambda **kwargs: Seen(space))
    try:
        return make_env(EnvConfig(id="toy/Seen-v0", **settings))
    finally:
        del gym.registry["toy/Seen-v0"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(0, 1, (3, 32, 32)), r"got \(3, 32, 32\) of float32; gymnasium"),
        (spaces.Box(0, 255, (4, 8, 8, 3), np.uint8), r"got \(4, 8, 8, 3\) of uint8"),
        (
            spaces.Dict({"eyes": spaces.Tuple([VECTOR, spaces.Box(0, 1, (40, 40))])}),
            "of float32 as part 'eyes.1'; gymnasium",
        ),
    ],
)
def test_fields_that_are_no_pictures_are_refused_in_one_line(space: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        made(space)
    assert len(str(refused.value).splitlines()) == 1


def test_small_fields_of_numbers_are_vectors() -> None:
    bytes_in_a_row = spaces.Box(0, 255, (128,), np.uint8)
    for space in (VECTOR, bytes_in_a_row, spaces.Dict({"a": VECTOR, "b": bytes_in_a_row})):
        env = made(space)
        assert env.observation_space.dtype == np.float32
        assert EnvironmentSpec.of(env).observation.kind == "vector"


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (1, 4, 4)])
def test_a_pixel_is_the_mean_of_those_below_it(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(resized(FOUR.reshape(shape), 2), [[[100, 8], [4, 16]]])


def test_the_shorter_of_the_outer_axes_is_that_of_channels() -> None:
    last = np.stack([FOUR, 255 - FOUR, FOUR // 2], -1)
    for picture in (last, last.transpose(2, 0, 1)):
        small = resized(picture, 4)
        assert small.shape == (3, 4, 4)
        np.testing.assert_array_equal(small[1], 255 - FOUR)


def test_pictures_alone_are_kept_as_bytes() -> None:
    env = made(PICTURE, image_size=16)
    x, _ = env.reset(seed=0)
    assert (x.shape, x.dtype) == ((3 * 16 * 16,), np.uint8)
    spec = EnvironmentSpec.of(env)
    assert spec.observation.pictures == ((0, 3, 16, 16),)
    assert (spec.observation.kind, spec.observation.dtype) == ("pictures", "uint8")
    assert EnvironmentSpec.from_json(spec.to_json(), None) == spec


def test_pictures_stand_beside_numbers() -> None:
    env = made(spaces.Dict({"arm": VECTOR, "eye": PICTURE, "id": spaces.Discrete(3)}), image_size=8)
    x, _ = env.reset(seed=0)
    spec = EnvironmentSpec.of(env).observation
    assert (x.dtype, spec.pictures, spec.kind) == (np.float32, ((6, 3, 8, 8),), "pictures")
    assert np.flatnonzero(spec.numbers).tolist() == [*range(6), 198, 199, 200]


def test_a_stack_begins_with_the_first_picture_repeated() -> None:
    env = make_env(EnvConfig(id="toy_envs:ToyDot-v0", image_size=8, frame_stack=3))
    first, _ = env.reset(seed=0)
    assert EnvironmentSpec.of(env).observation.pictures == ((0, 9, 8, 8),)
    frames = first.reshape(3, -1)
    assert (frames == frames[0]).all()
    second, *_ = env.step(np.ones(1, np.float32))
    np.testing.assert_array_equal(second.reshape(3, -1)[:2], frames[1:])
    assert (second.reshape(3, -1)[2] != frames[0]).any()


def test_what_is_rendered_can_be_observed() -> None:
    config = EnvConfig(id="toy_envs:ToyLevers-v0", observe="pixels", image_size=64)
    env = make_env(config)
    x, _ = env.reset(seed=1)
    np.testing.assert_array_equal(x.reshape(3, 64, 64), rendered(env).transpose(2, 0, 1))


def test_an_environment_that_does_not_render_says_so() -> None:
    with pytest.raises(ValueError, match="render"):
        make_env(EnvConfig(id="toy_envs:ToyPoint-v0", observe="pixels"))


def test_act_takes_pictures_as_the_environment_gives_them() -> None:
    spec = make_vector(EnvConfig(id="toy_envs:ToyDotMixed-v0", image_size=8), 1).spec.observation
    picture = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    one = spec.check({"camera": picture, "place": [0.5]})
    np.testing.assert_array_equal(one[:-1], resized(picture, 8).ravel())
    many = spec.check({"camera": np.stack([picture] * 2), "place": np.full((2, 1), 0.5)})
    np.testing.assert_array_equal(many, [one, one])
    alone = ObservationSpec((192,), "uint8", pictures=((0, 3, 8, 8),))
    np.testing.assert_array_equal(alone.check(picture), one[:-1])
    np.testing.assert_array_equal(alone.check(one[:-1].astype(np.uint8)), one[:-1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((12, 16, 3)), "expected a picture of bytes"),
        (np.zeros((12, 16, 4), np.uint8), "of 3 channels"),
        (np.zeros((5, 5), np.uint8), "of 3 channels"),
        (np.zeros((2, 2, 5, 5, 3), np.uint8), "of 3 channels"),
    ],
)
def test_other_pictures_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flattened(given, (3, 8, 8))


def test_batches_of_grey_pictures_are_told_from_colours() -> None:
    assert flattened(np.zeros((5, 9, 9), np.uint8), (1, 8, 8)).shape == (5, 64)
    assert flattened(np.zeros((9, 9), np.uint8), (1, 8, 8)).shape == (64,)
    assert flattened(np.zeros((5, 9, 9, 3), np.uint8), (3, 8, 8)).shape == (5, 192)


@pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")
def test_two_copies_look_alike() -> None:
    """Gymnasium's camera looks at where bodies are at the first frame, which may be anywhere."""
    config = EnvConfig(id="Reacher-v5", observe="pixels", image_size=16)
    one, other = (make_env(config) for _ in range(2))
    np.testing.assert_array_equal(one.reset(seed=5)[0], other.reset(seed=5)[0])

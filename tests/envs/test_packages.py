"""An id of somebody's package is answered with the module that registers it."""

from pathlib import Path

import pytest

from worldplan.envs import EnvConfig, make_env, packages


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that needs Gymnasium and registers an environment when it is imported."""
    (tmp_path / "their_envs").mkdir()
    (tmp_path / "their_envs" / "__init__.py").write_text("raise AssertionError('imported')")
    (tmp_path / "their_envs" / "ids.py").write_text('register(id="TheirReacher-v7")')
    about = tmp_path / "their_envs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: their-envs\nVersion: 1.0\nRequires-Dist: gymnasium>=1\n")
    (about / "RECORD").write_text("their_envs/__init__.py,,\ntheir_envs/ids.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["TheirReacher-v7", "their_envs/Other-v0", "their-envs/Other-v0"])
def test_the_module_of_an_installed_package_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="no environment has the id") as error:
        make_env(EnvConfig(id=name))
    assert f"is installed; expected its module too: their_envs:{name}" in str(error.value)


def test_ids_that_are_put_together_are_known() -> None:
    for name, module in {
        "FetchReach-v4": "gymnasium_robotics",
        "AntMaze_UMaze-v5": "gymnasium_robotics",
        "PandaReach-v3": "panda_gym",
        "HalfCheetahBulletEnv-v0": "pybullet_envs_gymnasium",
    }.items():
        with pytest.raises(ValueError, match=f"module too: {module}:{name}"):
            make_env(EnvConfig(id=name))


def test_other_ids_are_answered_as_before() -> None:
    assert packages.module_of("HalfCheeta-v5") is None
    with pytest.raises(ValueError, match="Did you mean 'HalfCheetah-v5'"):
        make_env(EnvConfig(id="HalfCheeta-v5"))

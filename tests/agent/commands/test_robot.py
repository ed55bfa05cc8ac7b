"""The commands serve and export, on an agent that comes along."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import run
from worldplan.agent.commands import robot
from worldplan.agent.commands.terminal import console


def test_a_program_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    listens = threading.Event()
    said: list[str] = []

    def say(line: str, **how: Any) -> None:
        said.append(line)
        listens.set()

    monkeypatch.setattr(console, "print", say)
    how = {"rate": 10.0, "port": 0, "once": True, "seconds": 60.0, "safe": "[0.5]"}
    served = threading.Thread(target=robot.serve, args=("demo:inverted-pendulum",), kwargs=how)
    served.start()
    assert listens.wait(60)
    host, _, port = said[0].removesuffix("; Ctrl-C ends it").rpartition(" ")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(json.dumps({"observation": [0, 0.02, 0, 0], "reset": True}).encode() + b"\n")
        answer = json.loads(client.makefile("rb").readline())
    served.join()
    assert -3 <= answer["action"][0] <= 3
    assert "ticks at 10 Hz" in said[-1]


def test_a_rate_that_cannot_be_is_told() -> None:
    said = run("serve", "demo:inverted-pendulum", "--rate", "0", code=1)
    assert "expected a rate of up to 10,000 decisions a second, got 0" in said


def test_a_safe_action_that_cannot_be_is_told() -> None:
    said = run("serve", "demo:inverted-pendulum", "--safe", "[4]", code=1)
    assert "expected a safe action as the environment takes it" in said
    said = run("serve", "demo:inverted-pendulum", "--safe", "stop", code=1)
    assert "expected --safe in JSON" in said
    said = run("serve", "demo:cartpole", "--safe", "2", code=1)
    assert "expected choices among (2,)" in said


def test_the_policy_is_written(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    file = tmp_path / "policy.onnx"
    assert f"written to {file}" in run("export", "demo:inverted-pendulum", file).replace("\n", "")
    said = run("export", "demo:inverted-pendulum", tmp_path / "policy.txt", code=1)
    assert "expected a file that ends in .pt2 or .onnx" in said

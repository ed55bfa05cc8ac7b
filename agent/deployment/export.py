"""An agent as one file that runs without worldplan: a decision, or the policy alone.

    agent.export("hopper.pt2")    # the decision, compiled: Python with PyTorch, or C++
    agent.export("hopper.onnx")   # the policy: whatever runs ONNX

Shapes: B environments, D observation, S state.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldplan.agent.agent import Agent
from worldplan.agent.config.names import one_of
from worldplan.agent.deployment.decision import Decision
from worldplan.agent.learning.compiling import no_compiler
from worldplan.envs import ObservationSpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Run = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
_STEPS = 5  # of the check
_APART = 1e-3  # the most by which an action may differ, in shares of its range: rounding


def export(agent: Agent, path: str | Path, actor: str | None = None, batch: int = 1) -> Path:
    """Writes what the agent does to a file, and checks that the file does the same.

    With its aim, where `agent.aim` gave it one. See `Decision` for what goes in and comes out.
    Sizes are in the file's metadata, as JSON under "worldplan".

    Args:
        path: `.pt2`: for this kind of processor, compiled by AOTInductor, which takes minutes and
            a C++ compiler. `.onnx`: the policy (extra `onnx`).
        actor: `planner` or `policy`; default: the planner, or the policy where it is ONNX.
        batch: B, of all calls.

    Raises:
        ValueError: another ending, actor or batch, a decision that cannot be exported, or ONNX
            without its extra.
        RuntimeError: the file's actions are not the agent's.
    """
    file = Path(path)
    writers = {".pt2": _write_pt2, ".onnx": _write_onnx}
    if file.suffix not in writers or file.is_dir():
        raise ValueError(f"expected a file that ends in .pt2 or .onnx, got {str(path)!r}")
    who = one_of("actor", actor or _DEFAULT[file.suffix], ("planner", "policy"))
    if (file.suffix, who) == (".onnx", "planner"):
        raise ValueError("ONNX takes the policy alone; expected actor='policy', or a .pt2 file")
    if batch < 1:
        raise ValueError(f"expected a batch of 1 or more, got {batch}")
    agent = agent.on_cpu()
    decision = Decision(agent.actor(who), agent.spec.action).eval()
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {"worldplan": json.dumps(_about(agent, decision, who, batch))}
    # Beside the file, which is there only once it was checked.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as place:
        draft = Path(place) / file.name
        quiet, own_noise = warnings.catch_warnings(), torch.random.fork_rng(devices=[])
        with quiet, own_noise, torch.no_grad():
            warnings.simplefilter("ignore")  # of PyTorch's exporters, about their own insides
            graph = exported(decision, batch)
            run = writers[file.suffix](graph, draft, about)
            _check(decision, run, _observations(agent.spec.observation, _STEPS, batch))
        draft.replace(file)
    return file


_DEFAULT = {".pt2": "planner", ".onnx": "policy"}


def exported(decision: Decision, batch: int = 1) -> ExportedProgram:
    """The decision as a graph of PyTorch's operations."""
    spec = decision.controller.model.spec.observation
    observation = torch.zeros(batch, *spec.shape, dtype=getattr(torch, spec.dtype))
    return torch.export.export(decision, (observation, torch.zeros(batch, decision.size)))


def _about(agent: Agent, decision: Decision, actor: str, batch: int) -> dict[str, Any]:
    spec = agent.spec
    return {
        "actor": actor,
        "batch": batch,
        "environment": spec.id,
        "observation": {"size": spec.observation.size, "dtype": spec.observation.dtype},
        "state": {"size": decision.size, "dtype": "float32"},
        "action": {"kind": spec.action.kind, "low": spec.action.low, "high": spec.action.high},
    }


def _write_pt2(graph: ExportedProgram, file: Path, metadata: dict[str, str]) -> Run:
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    if missing := no_compiler():
        raise ValueError(f"a .pt2 file cannot be made: {missing}")
    # Random numbers are PyTorch's own, and drawn in the program's order, as in `Agent.act`.
    in_order = {"reorder_for_peak_memory": False, "reorder_for_locality": False}
    aoti_compile_and_package(
        graph,
        package_path=str(file),
        inductor_configs={"fallback_random": True, "aot_inductor.metadata": metadata} | in_order,
    )
    run: Run = aoti_load_package(str(file))
    return run


def _write_onnx(graph: ExportedProgram, file: Path, metadata: dict[str, str]) -> Run:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (PyTorch's exporter needs it)
    except ImportError as error:
        raise ValueError("a .onnx file needs: pip install 'worldplan[onnx]'") from error
    program = torch.onnx.export(
        graph,
        input_names=["observation", "state"],
        output_names=["action", "next_state"],
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(observation: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        given = {"observation": observation.numpy(), "state": state.numpy()}
        action, after = session.run(None, given)
        return torch.from_numpy(action), torch.from_numpy(after)

    return run


def _observations(spec: ObservationSpec, steps: int, batch: int) -> list[Tensor]:
    """Some (B, D): standard normal numbers, or bytes."""
    random = torch.Generator().manual_seed(0)
    drawn = [torch.randn(batch, *spec.shape, generator=random) for _ in range(steps)]
    if spec.dtype == "uint8":
        return [(128 + 64 * x).clamp(0, 255).to(torch.uint8) for x in drawn]
    return drawn


def _check(decision: Decision, run: Run, observations: list[Tensor]) -> None:
    """Raises RuntimeError if actions are others than before the export, step by step."""
    low, high = decision.spec.low, decision.spec.high
    span = 1.0 if low is None or high is None else torch.tensor(high) - torch.tensor(low)
    runs, found = (decision, run), []
    for one in runs:
        torch.manual_seed(0)
        state, actions = torch.zeros(len(observations[0]), decision.size), []
        for x in observations:
            action, state = one(x, state)
            actions.append(action)
        found.append(torch.stack(actions).double())
    apart = float(((found[0] - found[1]).abs() / span).max())
    if not apart <= _APART:  # NaN is not
        raise RuntimeError(
            f"expected the exported file to give the agent's actions, they differ by {apart:.2g} "
            "of their range; nothing was written"
        )

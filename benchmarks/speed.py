"""Cost of one decision and of one gradient update, against their bare matrix products.

    python benchmarks/speed.py [--device D] [--threads N] [--rounds N] [--out FILE.json] [K=V ...]

`size=large` is one of the settings. Products alone run on the same device.

Every matrix product that a decision and an update make is noted, no head left out, then run again
alone as plain float32 products with nothing in between, in the same process and by turns with the
real thing. They read and write as much memory as the real ones, no more: what lay at one address
when they were noted lies at one address again, in the same layout. The ratio of the two times is
what everything else costs: activations, normalisation, sampling, the optimiser, Python. It holds on
any machine; times do not.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from worldplan.agent import Agent
from worldplan.agent.config.overrides import resolve as resolve_config
from worldplan.agent.config.presets import load_preset
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.batch import Batch
from worldplan.agent.learning.compiling import Execution, resolve
from worldplan.envs import EnvironmentSpec

SIZES: tuple[int, int] = (17, 6)  # observation and action of cheetah-run
aten = torch.ops.aten
# Where the two factors stand among the arguments.
PRODUCTS = {aten.mm: 0, aten.addmm: 1, aten.bmm: 0, aten.baddbmm: 1}
Shape = tuple[int, ...]
Factor = tuple[int, Shape, Shape]  # address, shape, strides


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes all matrix products made within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.noted: list[tuple[Factor, Factor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = PRODUCTS.get(func.overloadpacket)
        if first is not None:
            left, right = (
                (u.data_ptr(), tuple(u.shape), tuple(u.stride())) for u in args[first : first + 2]
            )
            self.noted.append((left, right))
        return func(*args, **(kwargs or {}))


def flops(products: list[tuple[Factor, Factor]]) -> float:
    """Floating-point operations: 2 per multiply-add."""
    return float(sum(2 * math.prod(left) * right[-1] for (_, left, _), (_, right, _) in products))


def bare(products: list[tuple[Factor, Factor]], device: torch.device) -> Callable[[], None]:
    """The same products alone, into memory that is already there."""
    memory: dict[Factor, Tensor] = {}
    jobs = []
    for factors in products:
        for factor in factors:
            if factor not in memory:
                _, shape, strides = factor
                memory[factor] = layout(shape, strides).to(device)
        a, b = (memory[factor] for factor in factors)
        shape = (*a.shape[:-1], b.shape[-1])
        out = memory.setdefault((0, shape, ()), torch.empty(shape, device=device))
        jobs.append((torch.mm if a.ndim == 2 else torch.bmm, a, b, out))

    def run() -> None:
        for product, a, b, out in jobs:
            product(a, b, out=out)

    return run


def layout(shape: Shape, strides: Shape) -> Tensor:
    """Random numbers in the given layout; a stride of 0 is shared memory."""
    length = 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    return torch.randn(length).as_strided(shape, strides)


def seconds(run: Callable[[], None], times: int) -> float:
    """That one run takes, with what it leaves to a GPU."""
    wait()
    began = time.perf_counter()
    for _ in range(times):
        run()
    wait()
    return (time.perf_counter() - began) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda, or cuda:1")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: as many as it likes")
    parser.add_argument("--rounds", type=int, default=15, help="by turns; the median counts")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of `worldplan train`")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = resolve_config(load_preset("cheetah-run"), [f"device={args.device}", *args.overrides])
    execution, note = resolve(
        config.compile, config.update_precision, config.plan_precision, config.device
    )
    console = Console()
    console.print(f"{note}; {torch.get_num_threads()} threads; PyTorch {torch.__version__}")

    torch.manual_seed(0)
    spec = EnvironmentSpec.vectors(*SIZES)
    plain = Agent(config.agent, spec, Execution(execution.device))
    agent = Agent(config.agent, spec, execution)
    learners = {plain: plain.make_learner(), agent: agent.make_learner()}
    generator = torch.Generator(execution.device).manual_seed(0)
    batch = example(config.agent.learner.batch_size, config.agent.learner.horizon)
    observation, state = torch.randn(1, SIZES[0]), plain.actor().initial(1)

    def decide(who: Agent) -> Callable[[], None]:
        actor = who.actor(explore=True)
        return lambda: void(actor.act(observation, state, generator))

    def update(who: Agent) -> Callable[[], None]:
        return lambda: void(learners[who].update(batch, generator))

    table = Table("", "ms", "GFLOP", "GFLOP/s", "its products alone, ms", "GFLOP/s", "ratio")
    figures: dict[str, Any] = {
        "threads": torch.get_num_threads(), "torch": torch.__version__, "execution": note,
        "overrides": args.overrides,
    }  # fmt: skip
    for name, make in (("decision", decide), ("update", update)):
        with Products() as products:  # by the uncompiled twin: a compiled one hides its products
            make(plain)()
        alone, real = bare(products.noted, execution.device), make(agent)
        seconds(real, 5), seconds(alone, 5)  # compile, warm up
        rounds = [(seconds(real, 10), seconds(alone, 10)) for _ in range(args.rounds)]
        spent = statistics.median(r for r, _ in rounds)
        products_alone = statistics.median(a for _, a in rounds)
        ratio = statistics.median(r / a for r, a in rounds)
        work = flops(products.noted) / 1e9
        figures[name] = {
            "ms": 1e3 * spent, "gflop": work, "products_ms": 1e3 * products_alone, "ratio": ratio,
        }  # fmt: skip
        table.add_row(
            name, f"{1e3 * spent:.1f}", f"{work:.2f}", f"{work / spent:.0f}",
            f"{1e3 * products_alone:.1f}", f"{work / products_alone:.0f}", f"{ratio:.2f}",
        )  # fmt: skip
    console.print(table)
    if args.out:
        write_json(args.out, figures)
    else:
        console.print(json.dumps(figures))


def example(sequences: int, steps: int) -> Batch:
    """A batch of random numbers of the right shapes."""
    observation, action = SIZES
    shape = (sequences, steps)
    return Batch(
        torch.randn(sequences, steps + 1, observation),
        2 * torch.rand(*shape, action) - 1,
        torch.rand(shape),
        torch.zeros(shape),
        torch.ones(shape, dtype=torch.bool),
    )


def wait() -> None:
    """Until a GPU, if there is one, has nothing left to do."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def void(result: object) -> None:
    """Drops a result."""


if __name__ == "__main__":
    main()

"""How the cost of a search grows: with environments, samples and horizon.

    python benchmarks/scaling.py [--device D] [--threads N] [--out FILE.json] [KEY=VALUE ...]

Times one iteration of the search (all candidates imagined and costed, default model, the sizes of
cheetah-run) and sets it beside the fastest float32 matrix product found in the same process. A
decision is `planner.iterations` of these, and little else.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from speed import SIZES, Products, flops, seconds

from worldplan.agent import Agent
from worldplan.agent.acting.imagination import side_by_side
from worldplan.agent.config.overrides import resolve as resolve_config
from worldplan.agent.config.presets import load_preset
from worldplan.agent.data.atomic import write_json
from worldplan.agent.learning.compiling import Execution, prepare, resolve
from worldplan.envs import EnvironmentSpec

ENVIRONMENTS, SAMPLES, HORIZONS = (1, 8, 64, 1024), (64, 256, 1024, 4096), (1, 2, 4, 8, 16)
MOST = 2**20  # imagined steps; beyond, memory is what is measured


def peak(device: torch.device) -> float:
    """Operations per second of the best of some float32 matrix products."""
    best = 0.0
    for n in (512, 1024, 2048):
        a, b = torch.randn(2, n, n, device=device)
        out = torch.empty(n, n, device=device)
        torch.mm(a, b, out=out)
        spent = min(seconds(lambda a=a, b=b, o=out: torch.mm(a, b, out=o), 3) for _ in range(3))
        best = max(best, 2 * n**3 / spent)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda, or cuda:1")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: as many as it likes")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of `worldplan train`")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = resolve_config(load_preset("cheetah-run"), [f"device={args.device}", *args.overrides])
    execution, note = resolve(
        config.compile, config.update_precision, config.plan_precision, config.device
    )
    device = execution.device
    console = Console()
    best = peak(device)
    console.print(f"{note}; {torch.get_num_threads()} threads; PyTorch {torch.__version__}")
    console.print(f"best float32 matrix product: {best / 1e9:.0f} GFLOP/s")

    torch.manual_seed(0)
    agent = Agent(config.agent, EnvironmentSpec.vectors(*SIZES), Execution(device))
    score = prepare(
        agent.controller.score, execution.compiled, execution.plan_precision, device, dynamic=True
    )
    table = Table("environments", "samples", "horizon", "ms", "GFLOP", "GFLOP/s", "of the best")
    rows: list[dict[str, Any]] = []
    for horizon in HORIZONS:
        for batch in ENVIRONMENTS:
            for samples in SAMPLES:
                if batch * samples * horizon > MOST:
                    continue
                with torch.no_grad():
                    h = agent.model.encode(torch.randn(batch, SIZES[0], device=device))
                    wide = batch, samples, horizon, SIZES[1]
                    actions = 2 * torch.rand(wide, device=device) - 1
                    noise = torch.zeros(1, horizon, 0, device=device)
                    given = side_by_side(h, agent.model.initial_state(h), actions, noise)
                    with Products() as products:
                        agent.controller.score(*given)
                    work = flops(products.noted)
                    times = max(1, min(20, int(0.1 * best / work)))
                    seconds(lambda given=given: score(*given), 2)
                    spent = statistics.median(
                        seconds(lambda given=given: score(*given), times) for _ in range(5)
                    )
                row = {
                    "environments": batch, "samples": samples, "horizon": horizon,
                    "ms": 1e3 * spent, "gflop": work / 1e9, "share": work / spent / best,
                }  # fmt: skip
                rows.append(row)
                table.add_row(
                    f"{batch}", f"{samples}", f"{horizon}", f"{row['ms']:.1f}",
                    f"{row['gflop']:.2f}", f"{work / spent / 1e9:.0f}", f"{row['share']:.0%}",
                )  # fmt: skip
    console.print(table)
    if args.out:
        write_json(
            args.out,
            {"threads": torch.get_num_threads(), "execution": note, "peak": best, "rows": rows},
        )


if __name__ == "__main__":
    main()

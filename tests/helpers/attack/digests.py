"""Digests of what must be equal: weights, replay, curves, result."""

import hashlib
import json
from pathlib import Path

from worldplan.agent.agent import Agent
from worldplan.agent.training.checkpoint import find, read

_APART = ("seconds", "_seconds")  # times differ from run to run


def digest_of_weights(agent: Agent) -> str:
    found = hashlib.blake2b()
    for name, value in sorted(agent.weights().items()):
        found.update(name.encode() + value.cpu().numpy().tobytes())
    return found.hexdigest()


def digest_of_run(run: Path) -> str:
    """Of the newest checkpoint, its replay, the curves and the result; not of times."""
    tensors, state = read(find(run))
    parts = [name.encode() + value.numpy().tobytes() for name, value in sorted(tensors.items())]
    # The replay's state has a digest of its rows.
    decides = {
        key: state[key] for key in ("counters", "sampling", "replay", "stop") if key in state
    }
    parts.append(json.dumps(decides, sort_keys=True).encode())
    parts += [
        (run / name).read_bytes() for name in ("curve.csv", "episodes.csv", "diagnostics.csv")
    ]
    result = json.loads((run / "result.json").read_text())
    kept = {key: value for key, value in result.items() if not key.endswith(_APART)}
    parts.append(json.dumps(kept, sort_keys=True).encode())
    return hashlib.blake2b(b"\0".join(parts)).hexdigest()

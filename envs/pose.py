"""Poses of a MuJoCo model as continuous numbers, which a network can predict, and back.

Shapes: ... any leading shape, Q positions (MuJoCo's qpos), K numbers of the code.
"""

import mujoco
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HINGE, _SLIDE = int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)
_FREE = int(mujoco.mjtJoint.mjJNT_FREE)


class PoseCode:
    """Encodes positions (..., Q) as numbers (..., K), and decodes them.

    An unlimited hinge is encoded as the cosine and sine of its angle, so that a full turn gives
    the same code. A quaternion is encoded with the sign that makes its real part non-negative.
    `names` (K,) are the names of the joints.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        plain, turning, quaternions, names = [], [], [], []
        for j in range(model.njnt):
            at, kind = int(model.jnt_qposadr[j]), int(model.jnt_type[j])
            name = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, j) or f"joint {j}"
            if kind == _SLIDE or (kind == _HINGE and model.jnt_limited[j]):
                plain.append((at, name))
            elif kind == _HINGE:
                turning.append((at, name))
            else:
                if kind == _FREE:
                    plain += [(at + i, f"{name} {axis}") for i, axis in enumerate("xyz")]
                    at += 3
                quaternions.append((np.arange(at, at + 4), name))
        self.size = model.nq
        self._plain = np.array([at for at, _ in plain], np.int64)
        self._turning = np.array([at for at, _ in turning], np.int64)
        self._quaternions = np.array([at for at, _ in quaternions], np.int64).reshape(-1, 4)
        names = [name for _, name in plain] + 2 * [name for _, name in turning]
        self.names = names + [name for _, name in quaternions for _ in range(4)]

    def encode(self, position: Floats) -> Floats:
        """Positions (..., Q) -> code (..., K)."""
        angle = position[..., self._turning]
        turns = position[..., self._quaternions]
        turns = np.where(turns[..., :1] < 0, -turns, turns)
        parts = [position[..., self._plain], np.cos(angle), np.sin(angle)]
        return np.concatenate([*parts, turns.reshape(*turns.shape[:-2], -1)], -1)

    def decode(self, code: Floats) -> Floats:
        """Code (..., K) -> positions (..., Q), with angles in (-pi, pi] and unit quaternions."""
        n, m = len(self._plain), len(self._turning)
        position = np.empty((*code.shape[:-1], self.size))
        position[..., self._plain] = code[..., :n]
        position[..., self._turning] = np.arctan2(
            code[..., n + m : n + 2 * m], code[..., n : n + m]
        )
        turns = code[..., n + 2 * m :].reshape(*code.shape[:-1], -1, 4)
        length = np.linalg.norm(turns, axis=-1, keepdims=True)
        position[..., self._quaternions] = turns / np.maximum(length, 1e-9)
        return position

"""Published mean returns, by preset, method and simulator frames.

From result files of the systems themselves or of later work that ran them, averaged over seeds;
other versions of the environments and of MuJoCo may stand behind them. DMControl: proprioceptive,
action repeat 2 but for BRO (1).
"""

from __future__ import annotations

# Where each method is from.
SOURCES = {
    "TD-MPC2": "Hansen et al. 2024, arXiv:2310.16828",
    "BMPC": "Wang et al. 2025, arXiv:2503.18871",
    "MR.Q": "Fujimoto et al. 2025, arXiv:2501.16142",
    "BRO": "Nauman et al. 2024, arXiv:2405.16158; 10 updates a step",
    "SAC": "Haarnoja et al. 2018, arXiv:1801.01290",
    "DreamerV3": "Hafner et al. 2023, arXiv:2301.04104",
    "TD-MPC2, tuned": "TD-MPC2 tuned for Gymnasium, from the result files of DHMBPO",
    "MBPO": "Janner et al. 2019, arXiv:1906.08253",
    "DHMBPO": "Kubo et al. 2025, arXiv:2512.15439",
    "TD3": "Fujimoto et al. 2018, arXiv:1802.09477",
    "FOG": "result files of github.com/dmksjfl/DR.Q",
    "DR.Q": "result files of github.com/dmksjfl/DR.Q",
    "SimbaV2": "Lee et al. 2025, arXiv:2502.15280; 8 updates a step on Gymnasium",
    "WIMLE": "result files of github.com/mehranagh20/wimle",
    "XQC": "result files of github.com/Holiday-Robot/FlashSAC",
    "FlashSAC": "result files of github.com/Holiday-Robot/FlashSAC",
}

_FROM_25 = (25_000, 50_000, 100_000, 200_000, 500_000)
_DMCONTROL = (50_000, 100_000, 200_000, 500_000)
_GYM_FROM_25 = (25_000, 50_000, 100_000, 200_000)
_GYMNASIUM = (50_000, 100_000, 200_000)


def _at(frames: tuple[int, ...], *returns: float | None) -> dict[int, float]:
    """Where None stands, nothing was published."""
    pairs = zip(frames, returns, strict=True)
    return {at: value for at, value in pairs if value is not None}


PUBLISHED: dict[str, dict[str, dict[int, float]]] = {
    "cartpole-swingup": {
        "TD-MPC2": _at(_DMCONTROL, 812, 839, 872, 876),
        "BMPC": _at(_DMCONTROL, None, 770, 875, 874),
        "MR.Q": _at(_DMCONTROL, 795, 853, 860, 865),
        "BRO": _at(_FROM_25, 848, 867, 872, 876, 881),
        "SimbaV2": {100_000: 880},
        "SAC": _at(_DMCONTROL, None, 861, 867, 870),
        "DreamerV3": _at(_DMCONTROL, 322, 528, 788, 856),
    },
    "ball-in-cup-catch": {
        "TD-MPC2": _at(_DMCONTROL, 954, 981, 977, 985),
        "BMPC": _at(_DMCONTROL, None, 939, 981, 982),
        "MR.Q": _at(_DMCONTROL, 764, 965, 972, 976),
        "BRO": _at(_DMCONTROL, 967, 977, 973, 982),
        "FOG": {25_000: 758},
        "SAC": _at(_DMCONTROL, None, 972, 974, 974),
        "DreamerV3": _at(_DMCONTROL, 571, 730, 949, 966),
    },
    "finger-spin": {
        "TD-MPC2": _at(_DMCONTROL, 917, 948, 974, 985),
        "BMPC": _at(_DMCONTROL, None, 944, 982, 985),
        "MR.Q": _at(_DMCONTROL, 449, 733, 812, 913),
        "BRO": _at(_FROM_25, 696, 937, 979, 987, 988),
        "SAC": _at(_DMCONTROL, None, 475, 645, 757),
        "DreamerV3": _at(_DMCONTROL, 498, 766, 870, 924),
    },
    "reacher-easy": {
        "TD-MPC2": _at(_DMCONTROL, 702, 937, 976, 919),
        "BMPC": _at(_DMCONTROL, None, 794, 961, 969),
        "MR.Q": _at(_DMCONTROL, 734, 940, 947, 983),
        "BRO": _at(_FROM_25, 711, 867, 877, 933, 927),
        "SimbaV2": {100_000: 967},
        "SAC": _at(_DMCONTROL, None, 931, 979, 944),
        "DreamerV3": _at(_DMCONTROL, 631, 693, 956, 962),
    },
    "cheetah-run": {
        "TD-MPC2": _at(_DMCONTROL, 366, 519, 614, 758),
        "BMPC": _at(_DMCONTROL, None, 506, 611, 824),
        "MR.Q": _at(_DMCONTROL, 212, 648, 842, 903),
        "BRO": _at(_DMCONTROL, 373, 531, 680, 813),
        "FOG": {25_000: 292},
        "DR.Q": {50_000: 464},
        "SimbaV2": {100_000: 642},
        "XQC": {100_000: 722},
        "SAC": _at(_DMCONTROL, None, 178, 311, 586),
        "DreamerV3": _at(_DMCONTROL, 228, 283, 425, 596),
    },
    "walker-walk": {
        "TD-MPC2": _at(_DMCONTROL, 960, 962, 973, 979),
        "BMPC": _at(_DMCONTROL, None, 962, 973, 978),
        "MR.Q": _at(_DMCONTROL, 532, 891, 962, 969),
        "BRO": _at(_DMCONTROL, 934, 963, 969, 976),
        "FOG": {25_000: 764},
        "SAC": _at(_DMCONTROL, None, 449, 595, 942),
        "DreamerV3": _at(_DMCONTROL, 289, 475, 799, 881),
    },
    "hopper-hop": {"FOG": {50_000: 83, 100_000: 200}, "WIMLE": {200_000: 283}},
    "quadruped-walk": {"FOG": {50_000: 637}, "DR.Q": {100_000: 920}},
    "acrobot-swingup": {"WIMLE": {100_000: 216}, "DR.Q": {200_000: 306}},
    "half-cheetah": {
        "TD-MPC2, tuned": _at(_GYMNASIUM, 5139, 7251, 9975),
        "MBPO": _at(_GYMNASIUM, 7963, 9553, 10681),
        "DHMBPO": _at(_GYMNASIUM, 7356, 9878, 10568),
        "SAC": _at(_GYMNASIUM, 4212, 6156, 7679),
        "MR.Q": _at(_GYMNASIUM, 5422, 7872, 9856),
        "BRO": _at(_GYM_FROM_25, 5107, 6504, 8330, 9772),
        "DR.Q": _at(_GYM_FROM_25, 5349, 8114, 9439, 10729),
        "SimbaV2": _at(_GYMNASIUM, 6622, 7505, 8579),
        "XQC": _at(_GYMNASIUM, 6754, 8597, 9891),
        "FlashSAC": _at(_GYMNASIUM, None, 9815, 10835),
    },
    "hopper": {
        "TD-MPC2, tuned": _at(_GYMNASIUM, 245, 1281, 2206),
        "MBPO": _at(_GYMNASIUM, 1702, 3315, None),
        "DHMBPO": _at(_GYMNASIUM, 3470, 3399, 3278),
        "SAC": _at(_GYMNASIUM, 530, 1103, 2342),
        "MR.Q": _at(_GYMNASIUM, 961, 2249, 2385),
        "BRO": _at(_GYM_FROM_25, 594, 721, 1569, 1770),
        "DR.Q": _at(_GYM_FROM_25, 501, 1987, 2258, 1977),
        "SimbaV2": _at(_GYMNASIUM, 3231, 2927, 3650),
        "XQC": _at(_GYMNASIUM, 2735, 2828, 3527),
        "FlashSAC": _at(_GYMNASIUM, None, 2121, 2061),
    },
    "walker2d": {
        "TD-MPC2, tuned": _at(_GYMNASIUM, 590, 982, 3058),
        "MBPO": _at(_GYMNASIUM, 836, 3476, 4107),
        "DHMBPO": _at(_GYMNASIUM, 4264, 6457, 7112),
        "SAC": _at(_GYMNASIUM, 384, 690, 1946),
        "MR.Q": _at(_GYMNASIUM, 686, 3127, 4160),
        "BRO": _at(_GYM_FROM_25, 249, 311, 410, 629),
        "DR.Q": _at(_GYM_FROM_25, 454, 1658, 4151, 4707),
        "SimbaV2": _at(_GYMNASIUM, 2584, 4488, 4734),
        "XQC": _at(_GYMNASIUM, 2374, 3612, 4832),
        "FlashSAC": _at(_GYMNASIUM, None, 3299, 5311),
    },
    "inverted-pendulum": {"MBPO": {3_000: 1000}},  # one seed
    "inverted-double-pendulum": {"TD3": {25_000: 8517}},
    "reacher": {"TD3": {25_000: -5}, "SAC": {1_000_000: -2.6}},
}

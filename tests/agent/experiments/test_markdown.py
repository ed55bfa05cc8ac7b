"""Tables of results and of settings, against cells worked out by hand."""

from pathlib import Path

from tests.helpers.commands import run
from tests.helpers.runs import write_run
from worldplan.agent.experiments.report.curves import find_runs, group
from worldplan.agent.experiments.report.markdown import results, settings


def test_each_task_beside_the_best_published_figure(tmp_path: Path) -> None:
    for seed, value in ((0, 300.0), (1, 400.0)):
        write_run(tmp_path, "cheetah-run", seed, {5_000: 90, 12_500: value})
    write_run(tmp_path, "walker-walk", 0, {12_500: 800, 25_000: 900})
    pictures = "dm_control/cartpole-swingup-v0"  # as pictures: of no mean with others
    write_run(tmp_path, "cartpole-swingup-pixels", 0, {12_500: 100}, env=pictures)
    assert list(results(group(find_runs([tmp_path])))) == [
        "| task | seeds | 25k | 50k | final | policy alone |",
        "| --- | --- | --- | --- | --- | --- |",
        "| cartpole-swingup-pixels | 0 | 100 |  | 100 | 25% |",
        "| cheetah-run | 0, 1 | 350 (292 FOG) |  | 300, 400 | 25% |",
        "| walker-walk | 0 | 800 (764 FOG) | 900 (960 TD-MPC2) | 900 | 25% |",
        # FOG alone is published at 25k frames of both: (292 + 764) / 2.
        "| mean of 2 dm_control tasks |  | 575 (528 FOG; 1 seed) |  |  |  |",
    ]


def test_a_number_is_of_one_form(tmp_path: Path) -> None:
    """Runs of before there were shares of elites have true in place of 1."""
    write_run(tmp_path, "cheetah-run", 0, {12_500: 300}, sample_elite=True, greedy_episodes=0)
    write_run(tmp_path, "cheetah-run", 1, {12_500: 400}, sample_elite=1.0, greedy_episodes=0.0)
    (g,) = group(find_runs([tmp_path]))
    assert (g.label, len(g.runs)) == ("", 2)


def test_where_fewer_seeds_are_known_their_number_stands_beside(tmp_path: Path) -> None:
    for seed, further in ((0, {25_000: 600}), (1, {})):
        write_run(tmp_path, "cheetah-run", seed, {5_000: 0, 12_500: 300 + seed, **further})
    write_run(tmp_path, "walker-walk", 0, {12_500: 800, 25_000: 900})
    rows = list(results(group(find_runs([tmp_path]))))
    assert rows[2].startswith("| cheetah-run | 0, 1 | 300 (292 FOG) | 600 (464 DR.Q; 1 seed) |")
    assert rows[3].startswith("| walker-walk | 0 | 800 (764 FOG) | 900 (960 TD-MPC2) |")
    assert rows[4].startswith("| mean of 2 dm_control tasks |  | 550 (528 FOG; 1 seed) | 750 (")


def test_what_a_run_has_other_than_its_preset(tmp_path: Path) -> None:
    hopper, walker, reacher = "Hopper-v5", "Walker2d-v5", "Reacher-v5"
    write_run(tmp_path, "hopper", 0, {12_500: 1500}, env=hopper)
    write_run(tmp_path, "hopper", 1, {12_500: 9}, env=hopper)  # no other setting has this seed
    for seed in (0, 2):
        write_run(tmp_path, "hopper", seed, {12_500: 1000 + 8 * seed}, env=hopper, proposals=7)
    write_run(tmp_path, "walker2d", 0, {12_500: 50}, env=walker, proposals=7)
    write_run(tmp_path, "walker2d", 1, {12_500: 60}, env=walker, kwargs={"heavy": True})
    write_run(tmp_path, "hopper", 0, {12_500: 2000}, env=hopper, discount=0.9)
    write_run(tmp_path, "hopper", 0, {10_000: 2000}, env=hopper, discount=0.8)  # not that far
    write_run(tmp_path, "reacher", 0, {12_500: -5}, env=reacher)
    assert list(settings(find_runs([tmp_path]), 25_000)) == [
        "| task | setting | 25k frames | policy alone | seeds |",
        "| --- | --- | --- | --- | --- |",
        "| hopper | the preset | 1,500 | 25% | 1 |",
        "| hopper | `discount=0.9` | 2,000 | 25% | 1 |",
        "| hopper | `proposals=7` | 1,008 | 25% | 2 |",
        "| walker2d | the preset |  | - | 0 |",
        "| walker2d | `env.kwargs.heavy=True` | 60 | 25% | 1 |",
        "| walker2d | `proposals=7` | 50 | 25% | 1 |",
    ]


def test_report_prints_the_table(tmp_path: Path) -> None:
    write_run(tmp_path, "hopper", 0, {25_000: 3500})
    said = run("report", tmp_path, "--markdown", "--out", tmp_path / "r.png")
    assert "| hopper | 0 | 3,500 (3470 DHMBPO) | 3,500 | 25% |" in said

"""What a scored run leaves behind: pages, comparisons, the board."""

import dataclasses
import json
import re
import shutil

import matplotlib
import numpy as np
import pytest
from small import edit_json

from sensorium_jax import load_run
from sensorium_jax.cli import compare as compare_command
from sensorium_jax.cli import leaderboard as board_command
from sensorium_jax.cli.main import main
from sensorium_jax.errors import UserError
from sensorium_jax.pages import figures, page
from sensorium_jax.pages.sections import report_page
from sensorium_jax.scores import compare, metrics, report, results
from sensorium_jax.scores import published as published_scores
from sensorium_jax.scores.score import Score


def scored(noise, *, tiers=("oracle", "final_test_main"), seed=0, neurons=(12, 9)):
    """A report of predictions that are the responses plus noise: the same responses for a seed.

    In both units, with the same scores and a floor of 0.05 in official ones.
    """
    scores = []
    for tier in tiers:
        for index, n in enumerate(neurons):
            rng = np.random.default_rng((seed, index, len(tier)))
            single, repeats = metrics.SingleTrialCorrelation(n), metrics.Repeats(n)
            for clip in "aabbcc":
                y, wrong = rng.gamma(1, 1, (80, n)), rng.normal(size=(80, n))
                for meter in (single, repeats):
                    meter.add(clip, y, y + noise * wrong)
            value, average = (
                float(found.value.mean()) for found in (single.correlation(), repeats.to_average())
            )
            raw = Score(
                f"mouse{index}", tier, "all", 6, n, value, average, None, None, 0,
                clips={
                    "single_trial": single.clip_moments(), "to_average": repeats.clip_moments()
                },
                example=repeats.example([0, 1, 2]),
            )  # fmt: skip
            floors = {"floor": 0.05, "to_average_floor": 0.07}
            scores += dataclasses.replace(raw, units="official", **floors), raw
    return report.Report(tuple(scores))


def run_of(folder, *args, **options):
    folder.mkdir()
    results.write(folder, scored(*args, **options))
    return folder


def test_the_better_run_is_found(tmp_path, capsys):
    a, b = run_of(tmp_path / "a", 1.0), run_of(tmp_path / "b", 0.8)
    whole, *mice = (d for d in compare.compare(a, b) if d.tier == "oracle")
    assert whole.session == "all" and [d.session for d in mice] == ["mouse0", "mouse1"]
    assert 0 < whole.low < whole.b - whole.a < whole.high
    assert whole.better > 0.9 and whole.clear
    assert whole.a == pytest.approx(scored(1.0).by_neuron("oracle"))
    (same, *_) = compare.compare(a, a)
    assert same.low == same.high == 0 and not same.clear and same.better == 0

    assert compare_command.main([str(a), str(b), "--json", str(tmp_path / "d.json")]) == 0
    assert "final_test_main" in capsys.readouterr().out
    assert json.loads((tmp_path / "d.json").read_text())[0]["low"] == whole.low

    averages, *_ = compare.compare(a, b, field="to_average")
    assert averages.a == pytest.approx(scored(1.0).by_neuron("oracle", field="to_average"))
    assert averages.clear and averages.a != whole.a
    assert compare_command.main([str(a), str(b), "--score", "to_average"]) == 0
    assert "Correlation (to average, raw units)" in capsys.readouterr().out


def test_runs_that_cannot_be_compared(tmp_path, capsys):
    a = run_of(tmp_path / "a", 1.0)
    for name, options, message in (
        ("seed", {"seed": 1}, "found other responses in"),
        ("size", {"neurons": (12, 8)}, "found other responses in"),
        ("tier", {"tiers": ("oracle",)}, "final_test_main of mouse. is in .*a, and not in"),
    ):
        other = run_of(tmp_path / name, 1.0, **options)
        with pytest.raises(UserError, match=message):
            compare.compare(a, other)
    (tmp_path / "seed" / results.SCORES).write_bytes(b"PK no zip")
    assert compare_command.main([str(a), str(tmp_path / "seed")]) == 2
    assert "which is damaged" in capsys.readouterr().err
    assert compare_command.main([str(a), str(tmp_path / "nowhere")]) == 2
    assert "which is missing; score the run" in capsys.readouterr().err


def test_the_board_ranks_runs_and_marks_simulated_mice(tmp_path, capsys):
    a, b = run_of(tmp_path / "a", 1.0), run_of(tmp_path / "b", 0.8)
    values = results.read_report(b)
    for score in values["scores"]:
        score["single_trial_ceiling"] = 0.9
    (b / results.REPORT).write_text(json.dumps(values))
    entries = [published_scores.entry(run) for run in (a, b)]
    assert [e.kind for e in entries] == ["yours", "SIMULATED"]
    board = tmp_path / "board.json"
    assert board_command.main([str(a), str(b)]) == 0  # in raw units nothing was published
    shown = capsys.readouterr().out
    assert "DwiseNeuro" not in shown and "floor" not in shown and "--units official" in shown
    official = ["--units", "official", "--json", str(board)]
    assert board_command.main([str(a), str(b), *official]) == 0
    names = [column.split()[1] for column in capsys.readouterr().out.splitlines() if "│" in column]
    assert names.index("b") < names.index("a") < names.index("DwiseNeuro,")
    assert names[names.index("b") + 1] == names[names.index("a") + 1] == "floor"
    published = json.loads(board.read_text())["published"]
    values = {(e["name"], tier): value for e in published for tier, value in e["scores"].items()}
    assert values["DwiseNeuro, 1st", "final_test_bonus"] == 0.2215
    assert values["ViV1T, 3rd", "oracle"] == 0.2608
    assert values["factorised, mean", "final_test_main"] == 0.1828
    assert board_command.main([str(a), "--score", "to_average", "--units", "official"]) == 0
    shown = capsys.readouterr().out
    assert (
        "0.3569" in shown and "0.0700" in shown and "0.3210" in shown and "DwiseNeuro" not in shown
    )
    assert {e["kind"] for e in published} == {"server", "own score", "quoted"}
    assert board_command.main([str(tmp_path / "nowhere")]) == 2


@pytest.mark.parametrize("content", [{}, {"means": []}, {"means": [{"tier": "oracle"}]}, [], None])
def test_a_report_of_another_version_is_named(content, tmp_path, capsys):
    run = run_of(tmp_path / "a", 1.0)
    (run / results.REPORT).write_text(json.dumps(content))
    assert board_command.main([str(run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "report.json" in error
    assert "another version's" in error or "JSON object" in error or "no such key" in error


def test_a_page_of_scores_needs_nothing_else():
    page = report_page(scored(1.0))
    assert page.count("<svg") == page.count("</svg>") == 2
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", page)
    assert not re.search(r"(src|href)=.?https?:|@import|<script", without_names)
    assert "final_test_main" in page and "mouse1" in page and "Simulated" not in page
    assert figures.traces(scored(1.0).scores[0]).axes[0].get_title(loc="left").startswith("best")
    html = scored(1.0)._repr_html_()
    assert html.startswith("<div") and "<svg" not in html
    nothing = report.Report((), withheld=("oracle",))
    assert "Nothing was scored." in report_page(nothing) and "withheld" in nothing._repr_html_()


def test_matplotlib_is_left_as_it_was():
    """A page that is shown in a notebook does not change the figures that follow."""
    before = {name: matplotlib.rcParams[name] for name in page.STYLE}
    figure = figures.scores(scored(1.0))
    assert not figure.axes[0].spines["top"].get_visible()
    assert before == {name: matplotlib.rcParams[name] for name in page.STYLE} != page.STYLE


def test_examples_are_means_over_repeats():
    rng = np.random.default_rng(0)
    trials = [("a", *rng.gamma(1, 1, (2, 30, 5))) for _ in range(3)] + [
        ("b", *rng.gamma(1, 1, (2, 30, 5)))
    ]
    meter = metrics.Repeats(5)
    for trial in trials:
        meter.add(*trial)
    found = meter.example([4, 1])
    assert (found.clip, found.repeats) == ("a", 3)
    y, p = (np.stack([t[i] for t in trials[:3]])[..., [4, 1]] for i in (1, 2))
    np.testing.assert_allclose(found.response, y.mean(0))
    np.testing.assert_allclose(found.std, y.std(0))
    np.testing.assert_allclose(found.prediction, p.mean(0))


@pytest.mark.slow
def test_weights_are_scored_compared_ranked_and_submitted_as_a_run(whole, tmp_path, capsys):
    """Exported weights; without their record of training, imported ones."""
    pytest.importorskip("pyarrow", reason="needs pip install -e '.[submission]'")
    run = load_run(whole[0])
    store, weights, imported = str(run.recordings.store.path), tmp_path / "mine", tmp_path / "kit"
    run.export(weights)
    shutil.copytree(weights, imported)
    edit_json(imported / "config.json", lambda x: {k: x[k] for k in x if k != "experiment"})
    trained = shutil.copytree(whole[0], tmp_path / "run")
    for folder in (trained, weights, imported):
        assert main(["report", str(folder), "--data", store]) == 0
        assert "Made to predict" in (folder / "report.html").read_text()
    (difference, *_) = compare.compare(trained, weights)
    assert difference.a == difference.b and difference.low == difference.high == 0
    capsys.readouterr()
    assert main(["leaderboard", str(trained), str(weights), str(imported)]) == 0
    shown = capsys.readouterr().out
    assert "mine" in shown and "kit" in shown
    assert main(["compare", str(trained), str(imported), "--units", "official"]) == 0
    assert "Warning: 9 train trials make the std" in capsys.readouterr().out
    out = ["--out", str(tmp_path / "zips"), "--track", "main"]
    assert main(["submit", "write", str(weights), "--store", store, *out]) == 0
    assert main(["submit", "check", str(tmp_path / "zips/main.zip"), "--store", store]) == 0

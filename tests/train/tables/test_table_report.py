"""The page and picture that are made from a table's JSON."""

import json
import struct

import numpy as np
import pytest
from drawn_table import result

from prernn_jax.errors import InputError
from train.tables.forest import advantages
from train.tables.report import judged_anew, table_page, write_table


def as_the_paper(row, column, paper):
    return paper or 0.12


def line_of(page, start):
    (found,) = [line for line in page.splitlines() if line.startswith(start)]
    return found


def test_the_three_files(tmp_path):
    outcome = result(3, as_the_paper)
    outcome["rates"]["validation"] = {"gru-pre": {"0.05": np.inf, "0.1": 0.25}}
    files = write_table(tmp_path / "out", outcome)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "claims.png", "table3.json", "table3.md", "table3.png",
    ]  # fmt: skip
    kept = json.loads(files[0].read_text())
    assert kept["cells"] == outcome["cells"]
    assert kept["rates"]["validation"]["gru-pre"] == {"0.05": None, "0.1": 0.25}
    assert files[1].read_text() == table_page(kept, "table3.png")  # nothing but the JSON is in it
    assert "0.05: failed, 0.1: 0.25" in line_of(files[1].read_text(), "| GRU | PreRNN pre-trained")
    head = files[2].read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(struct.unpack(">II", head[16:])) > 300


@pytest.mark.parametrize("table", [1, 2, 3])
def test_every_place_is_on_the_page(table):
    outcome = result(table, as_the_paper)
    page = table_page(outcome, "picture.png")
    scale, digits = outcome["metric"]["scale"], outcome["metric"]["digits"]
    for cell in outcome["cells"]:
        assert f"{scale * cell['mean']:.{digits}f} ± {scale * cell['sd']:.{digits}f}" in page
        if cell["paper"] is not None:
            assert f"paper {scale * cell['paper']:.{digits}f}" in page
    for line in outcome["claims"]:
        assert f"| {line['text']} |" in page
    for text in (outcome["command"], outcome["date"], outcome["device"], "1, 2, 3, 4, 5"):
        assert text in page


def test_the_best_of_a_row_is_bold_and_the_missing_a_dash():
    page = table_page(result(3, as_the_paper, noise=1e-6), "picture.png")
    places = line_of(page, "| VRNN | **").split(" | ")[1:]
    assert places[0].startswith("**92.7 ± 0.0**<br>paper 92.7")
    assert places[2:4] == ["-", "-"]
    assert not any("**" in place for place in places[1:])


def test_the_lowest_loss_is_the_best():
    page = table_page(result(1, as_the_paper, noise=1e-6), "picture.png")
    assert line_of(page, "| LSTM | 0.2039").count("**") == 2
    assert "**0.0951 ± 0.0000**<br>paper 0.0951" in page
    assert line_of(page, "Control, CNN alone: 0.1200 ± 0.0000")


def test_one_seed_and_a_reduced_grid(tmp_path):
    outcome = result(1, as_the_paper, seeds=[5], quick=True)
    page = write_table(tmp_path, outcome)[1].read_text()
    assert "over 1 training seed," in page
    assert "`--quick`" in page
    assert "±" not in page.split("## The paper's claims")[0].split("|", 1)[1]
    assert "undecided: PreRNN against trad. similar size" in page


def test_failed_runs_are_told(tmp_path):
    outcome = result(2, as_the_paper)
    cell = outcome["cells"][1]
    cell |= {"values": {}, "mean": None, "sd": None, "failed": ["1", "2"], "parameters": None}
    page = write_table(tmp_path, outcome)[1].read_text()
    assert "failed: 1, 2<br>paper" in page


def test_both_streams_alone():
    outcome = result(3, as_the_paper)
    cell = next(c for c in outcome["cells"] if (c["row"], c["column"]) == ("gru", "sih"))
    cell["streams"] = {"spatial": {"1": 0.5, "2": 0.52}, "temporal": {"1": 0.25}}
    page = table_page(outcome, "picture.png")
    assert "| row | structure | spatial | temporal |" in page
    assert "| GRU | SIH pre-trained | 51.0 ± 1.4 | 25.0 |" in page


def test_tables_are_judged_anew_from_their_values(tmp_path):
    """An older file has no corrected p; its verdicts come from the values that are in it."""
    outcome = result(3, as_the_paper)
    files = write_table(tmp_path, outcome)
    before = [path.read_bytes() for path in files]
    old = {**outcome, "claims": [], "differences": []}
    (tmp_path / "table3.json").write_text(json.dumps(old), encoding="utf-8")
    assert sorted(judged_anew(tmp_path)) == sorted(files)
    assert [path.read_bytes() for path in files] == before
    with pytest.raises(InputError, match=r"no tableN\.json in .*--out"):
        judged_anew(tmp_path / "elsewhere")


def test_the_forest_plot_shows_every_comparison_of_the_claims():
    outcome = result(1, as_the_paper, noise=1e-4)
    lines = advantages(outcome)
    claimed = [d for d in outcome["differences"] if d["claim"] != "control"]
    assert len(lines) == len(claimed)
    line, claim = lines[0], claimed[0]
    second = next(
        c["mean"]
        for c in outcome["cells"]
        if (c["row"], c["column"]) == (claim["second_row"], claim["second"])
    )
    assert line["mean"] == pytest.approx(100 * claim["mean"] / second)
    assert line["kind"] == "better"
    assert "equality" in {line["kind"] for line in advantages(result(3, as_the_paper))}

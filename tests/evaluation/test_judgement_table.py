"""attnlab.judge in a terminal of any width: no number is cut."""

import pytest

from attnlab.evaluation.judgement_table import GATE_COLUMNS, show

GATE = dict.fromkeys(GATE_COLUMNS, -0.123) | {"changed": 34.56, "verdict": "no effect seen"}
SCORE = {"value": 10.4, "se": 0.012, "beside": -2.3, "meaning": "a perfectly calibrated network on as many images"}
JUDGEMENT = {
    "run": "1c9fcfacf4c6",
    "parts": {
        "health": {
            "scores": {"average_precision/hirescam": SCORE},
            "details": {"gates": {"backbone.stage2.0.at_branch.spatial": GATE, "all": GATE}},
        },
        "localisation": {"scores": {}, "details": {"of": 100, "images": 98}},
        "sanity": {"scores": {}, "details": {"survived": ["backbone.stage2.0.at_branch.spatial"]}},
    },
}


@pytest.mark.parametrize("columns", [70, 80, 100, 160])
def test_no_number_is_cut_and_no_line_is_too_wide(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    show(JUDGEMENT)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    assert "\u2026" not in text
    for number in ("10.40", "0.012", "-2.30", "34.56", "-0.123", "98 of 100"):
        assert number in text
    assert ("No place in" in text) == (columns < 100)

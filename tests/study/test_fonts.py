"""Labels that no installed font can show are told before anything runs."""

from sae_stability.figures.drawings import style
from sae_stability.study.build import Study
from sae_stability.study.fonts import without_font
from tests.study_config import small_config


def study(*labels: str) -> Study:
    config = small_config()
    config["sweeps"]["size"]["vary"] = {"hookpoint": dict(zip(labels, ["layers.0.mlp", "layers.1.mlp"], strict=True))}
    config["figures"]["draw"] = {"position": {"sweep": "size"}}
    return Study.from_config(config)


def test_labels_that_can_be_drawn_need_no_word():
    assert without_font(study("début", "α")) == []


def test_a_label_of_boxes_is_told(monkeypatch):
    monkeypatch.setattr(style.font_manager.fontManager, "ttflist", [])  # whatever else is installed here
    (note,) = without_font(study("層 1", "plain"))
    assert "no installed font has 層 of the label 層 1: PDF and PNG will show boxes" in note

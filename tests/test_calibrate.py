"""`calibrate` measures what `plan` reads. How fast a machine is, no test says."""

import sae_stability.calibrate
from sae_stability.calibrate import calibrate
from sae_stability.pipeline.rates import MEASURED, rates_of
from sae_stability.study.build import load_study


def test_every_rate_is_measured_on_the_embedded_study(tmp_path, monkeypatch):
    monkeypatch.setattr(sae_stability.calibrate, "_AT_ONCE", 1)
    monkeypatch.setattr(sae_stability.calibrate, "_SECONDS", 0.1)
    monkeypatch.setattr(sae_stability.calibrate, "_DISK_BYTES", 10**6)
    out = tmp_path / "new" / "rates.json"
    told = calibrate(out=out)
    study = load_study("config.yaml")
    rates = rates_of(study, out)
    assert {name for name, source in rates.sources.items() if source == "measured"} == {*MEASURED, "device"}
    assert all(f"  {name} " in told for name in MEASURED)
    # No core does more than 10^13 operations a second, nor less than 10^6.
    assert all(1e-6 < rate < 10 for rate in (rates.model_tflops, rates.sae_tflops))

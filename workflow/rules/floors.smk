"""Matches of random dictionaries of the same shape: what chance alone gives.

OUTPUTS  <results>/floors/384x384/0.parquet
Steps: draw two dictionaries; match them. A job takes the repeats of a shape that are not there yet.
"""

for _name, _repeats in stages.floors.jobs(pipeline).items():
    _shape = _repeats[0][:2]

    rule:
        name:
            f"floor_{_name}"
        input:
            stale=since("floors", *_repeats),
        output:
            stages.floors.outputs(pipeline, _repeats),
        log:
            f"<logs>/floor/{_name}.log",
        conda:
            ENVIRONMENT
        threads: stages.match.threads(_shape[0])
        resources:
            mem_mb=growing(stages.match.memory(*_shape)),
            runtime=lasting(120),
        params:
            settings=stages.floors.command(pipeline, _repeats),
        shell:
            "python -m sae_stability floor {params.settings} --threads {threads} &> {log:q}"

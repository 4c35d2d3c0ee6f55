"""The embedded study, reduced, on a real Slurm cluster: the same bytes as on one machine, whatever happens to jobs."""

import subprocess

import pytest

from tests.slurm.conftest import HERE, Cluster, Project

TARGET = "overlap_tables"


@pytest.fixture(scope="module")
def alone(project) -> Project:
    """The study, run without Slurm."""
    made = project("alone")
    made.finish(made.start(TARGET, "--cores=2"))
    return made


def test_whatever_happens_to_jobs_the_bytes_are_the_same(cluster: Cluster, alone: Project, project):
    made = project("disturbed")
    # The first attempt to match gets less memory than Python takes.
    run = made.slurm(TARGET, "--set-resources", "match_base:mem_mb=60 + 4000 * (attempt - 1)")

    preempted = cluster.running("tokenize", run)
    cluster.call("scontrol", "requeue", preempted)

    on_the_lost_node = cluster.running("extract", run)
    # The node's daemon reports that it is well, and the controller takes the node back.
    cluster.call("scontrol", "update", f"NodeName={cluster.node}", "State=DOWN", "Reason=test")

    cancelled = cluster.running("train", run)
    cluster.call("scancel", cancelled)

    again = cluster.running("train", run)
    assert cluster.memory(again) == 2 * cluster.memory(cancelled)
    cluster.stop_controller()
    # Snakemake has asked for its jobs, found no controller, and turned to `sacct`, which knows nothing here.
    made.says("Falling back to 'sacct'", run)
    cluster.script("controller")

    output = made.finish(run)
    assert "Using workflow specific profile profiles/slurm" in output
    for number in (preempted, on_the_lost_node):
        assert "Restarts=1" in cluster.call("scontrol", "show", "job", number)
    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in output
    assert output.count("Error in rule match_base") == 1
    assert made.tables == alone.tables


def test_a_job_that_no_node_can_hold_is_named(cluster: Cluster, project):
    made = project("too-large")
    run = made.slurm("results/tokens/minilm-docstrings/manifest.json", "--max-threads=16", "--retries=0")
    assert run.wait(120) == 1
    output = made.log.read_text()
    assert "Error in rule tokenize_minilm_docstrings" in output
    assert "This job could never start: no node has what it asks for. Lower max-threads" in output


def test_the_profile_for_any_submit_command_runs_jobs(cluster: Cluster, alone: Project, project):
    made = project("submit-command")
    submit = "sbatch --parsable -c {threads} --mem={resources.mem_mb} -t {resources.runtime} -o slurm-%j.log"
    commands = ["--cluster-generic-submit-cmd", submit, "--cluster-generic-cancel-cmd", "scancel"]
    profile = ["--workflow-profile=profiles/submit-command", "--seconds-between-status-checks=1"]
    made.finish(made.start("results/tokens/minilm-docstrings/manifest.json", *profile, *commands, *HERE))
    assert made.tables.items() <= alone.tables.items()
    assert any(name.startswith("tokens/") for name in made.tables)


def test_the_profile_for_one_machine_is_read(alone: Project):
    command = [TARGET, "--workflow-profile=profiles/one-machine", "--dry-run"]
    run = alone.start(*command)
    assert run.wait(120) == 0
    assert "Using workflow specific profile profiles/one-machine" in alone.log.read_text()


def test_nothing_is_left_in_the_queue(cluster: Cluster):
    assert subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout == ""

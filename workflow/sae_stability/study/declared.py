"""Passes, cohorts and sweeps of a study. They may rest on each other: a pass can hold the decoder rows of SAEs."""

from collections.abc import Iterable

from sae_stability.errors import StudyError
from sae_stability.study import checks
from sae_stability.study.cohorts import cohort_of, trained
from sae_stability.study.external import external_cohort_of
from sae_stability.study.parts import Cohort, ExternalCohort, Pass
from sae_stability.study.schema import look_up
from sae_stability.study.sweeps import add_sweep

HOOKPOINT = "decoder"
# Of the decoder rows of a pass: several, so that a job never holds all rows of a huge pass three times.
_SHARD_ROWS = 100_000

Cohorts = dict[str, Cohort | ExternalCohort]


class Declared:
    """What a config declares, made part by part: each part once everything that it rests on is made.

    Attributes:
        passes: by name, as are the others. Each has the order of the config; cohorts of sweeps come last.
        cohorts: those that are declared, and those that sweeps add.
        sweeps: those that are declared.

    Args:
        config: the study's, with defaults filled in.
        passes: those that rest on no SAE.

    Raises:
        StudyError: the first mistake; or a pass holds decoder rows of SAEs that are trained on that very pass.
    """

    def __init__(self, config: dict, passes: dict[str, Pass]) -> None:
        self._config = config
        self.passes, self.cohorts, self.sweeps = dict(passes), {}, {}
        self._left: dict[str, dict[str, dict]] = {
            "passes": {slug: given for slug, given in config["passes"].items() if slug not in passes},
            "cohorts": dict(config["cohorts"]),
            "sweeps": dict(config["sweeps"]),
        }
        while any(self._left.values()):
            self._make("cohorts")
            checks.check_distinct({slug: c for slug, c in trained(self.cohorts).items() if slug in config["cohorts"]})
            made = [self._make("sweeps"), self._make("passes")]
            if any(self._left.values()) and not any(made):
                self._refuse_the_rest()
        self.passes = _in_order(config["passes"], self.passes)
        self.cohorts = _in_order(config["cohorts"], self.cohorts)
        self.sweeps = _in_order(config["sweeps"], self.sweeps)

    def _make(self, kind: str) -> bool:
        """Make all parts of a kind that rest on nothing unmade; whether there was one."""
        make = {"passes": self._make_pass, "cohorts": self._make_cohort, "sweeps": self._make_sweep}[kind]
        ready = [slug for slug, given in self._left[kind].items() if not self._missing(kind, given)]
        for slug in ready:
            make(slug, self._left[kind].pop(slug))
        return bool(ready)

    def _missing(self, kind: str, given: dict) -> list[str]:
        """The passes or cohorts that a part rests on and that are still unmade."""
        if kind == "cohorts":
            return [given["pass"]] if given["pass"] in self._left["passes"] else []
        if kind == "passes":
            return [entry["cohort"] for entry in _entries(given) if entry["cohort"] not in self.cohorts]
        named = given["cohorts"].values() if "cohorts" in given else [given["cohort"]]
        return [name for name in named if name in self._left["cohorts"]]

    def _make_cohort(self, slug: str, given: dict) -> None:
        if slug in self.cohorts:
            raise StudyError(f"cohorts.{slug}: a sweep makes another cohort of that name; rename one of the two")
        make = external_cohort_of if "saes" in given else cohort_of
        self.cohorts[slug] = make(slug, given, self.passes, f"cohorts.{slug}")

    def _make_sweep(self, slug: str, given: dict) -> None:
        self.sweeps[slug] = add_sweep(slug, given, self._config["cohorts"], self.passes, self.cohorts)

    def _make_pass(self, slug: str, given: dict) -> None:
        self.passes[slug] = decoder_pass(slug, given, self.cohorts)

    def _refuse_the_rest(self) -> None:
        for slug, given in self._left["passes"].items():
            for name in self._missing("passes", given):
                where = f"passes.{slug}.decoder_of.cohort"
                look_up(where, name, {**self.cohorts, **self._config["cohorts"]})
                raise StudyError(
                    f"{where}: the SAEs of {name} are trained on this pass, directly or through other passes; name a "
                    "cohort that is not"
                )


def decoder_pass(slug: str, given: dict, cohorts: Cohorts) -> Pass:
    """A pass over decoder rows from settings with defaults filled in.

    All rows are trained on and all are evaluated on: the dictionary is the whole population, and no sample of it.

    Raises:
        StudyError: no such seed, an SAE twice, widths that differ, or nothing that tells which latents fire.
    """
    where = f"passes.{slug}.decoder_of"
    saes: list[tuple[str, int]] = []
    for entry in _entries(given):
        cohort, seed = cohorts[entry["cohort"]], entry["seed"]
        if seed is not None and seed not in cohort.seeds:
            known = ", ".join(map(str, cohort.seeds))
            raise StudyError(
                f"{where}.seed: {seed}, but the seeds of cohort {cohort.slug} are {known}; name one of these"
            )
        if given["alive"] and cohort.pass_ is None:
            raise StudyError(
                f"passes.{slug}.alive: cohort {cohort.slug} has no activations that tell which latents fire; give it a "
                "pass, or leave alive out"
            )
        saes += [(cohort.slug, one) for one in (cohort.seeds if seed is None else [seed])]
    if twice := [sae for sae in saes if saes.count(sae) > 1]:
        raise StudyError(f"{where}: seed {twice[0][1]} of cohort {twice[0][0]} is named twice; keep one")
    read = [cohorts[cohort] for cohort, _ in saes]
    if len({cohort.d_model for cohort in read}) > 1:
        widths = ", ".join(f"{cohort.slug} {cohort.d_model:,}" for cohort in dict.fromkeys(read))
        raise StudyError(f"{where}: the SAEs differ in width ({widths}); use a pass for each width")
    rows = sum(cohort.n_latents for cohort in read)
    return Pass(
        slug=slug,
        tokens=None,
        matrix=None,
        tensor=None,
        hookpoints=(HOOKPOINT,),
        d_model=read[0].d_model,
        dtype="float32",
        heldout_rows=rows,
        train_rows=rows,
        chunk_rows=rows,
        shard_rows=min(rows, _SHARD_ROWS),
        keep_special=True,
        max_norm_multiple=None,
        keep_shards=True,
        shuffle_seed=given["shuffle_seed"],
        decoder_of=tuple(saes),
        alive=given["alive"],
    )


def _entries(given: dict) -> list[dict]:
    """The SAEs that a pass names, as a list also where it is one entry."""
    return given["decoder_of"] if isinstance(given["decoder_of"], list) else [given["decoder_of"]]


def _in_order(names: Iterable[str], parts: dict) -> dict:
    """The parts in the order of `names`; others after these."""
    first = [name for name in names if name in parts]
    return {name: parts[name] for name in dict.fromkeys([*first, *parts])}

"""What each result was made from: its sources, its settings and the code that makes it, as one fingerprint."""

import dataclasses
from collections.abc import Callable, Iterable

from sae_stability.figures.registry import FIGURES
from sae_stability.fingerprint import key
from sae_stability.interpret.limits import WITHOUT_EXPLANATION
from sae_stability.pipeline import activations, choice, consensus, explorer, judges, meta, score
from sae_stability.pipeline.code_hash import code_hash
from sae_stability.pipeline.contents import Contents
from sae_stability.pipeline.external import format_of, local_files
from sae_stability.pipeline.figures import labelled, scored
from sae_stability.pipeline.report import facts
from sae_stability.pipeline.summary import about, control_figures
from sae_stability.sae.format_names import FORMATS
from sae_stability.study.build import Study
from sae_stability.study.firing import uses_model
from sae_stability.study.parts import Cohort, ExternalCohort, Figure, Pass, Stitch, TokenSet

_TOKEN_SIZES = ("context_length", "packing", "heldout_tokens", "train_tokens", "chunk_tokens")
# Fields of a pass that change no activation: the tokens have a fingerprint of their own.
_NOT_ACTIVATIONS = ("slug", "tokens", "keep_shards", "decoder_of", "alive")
# A study evaluates and matches SAEs in the project's own format alone.
OWN_FORMAT = FORMATS["own"]


class Fingerprints:
    """The fingerprints of a study's results. Each rests on those of the results that it is made from.

    Args:
        study: the study.
        contents: checksums of its local files: a changed file is other data under the same name.
    """

    def __init__(self, study: Study, contents: Contents) -> None:
        self._study = study
        self._contents = contents
        self._known: dict[tuple, str] = {}

    def tokens(self, tokens: TokenSet) -> str:
        """Of token blocks."""
        return self._once(("tokens", tokens.slug), lambda: self._of_tokens(tokens))

    def activations(self, pass_: Pass) -> str:
        """Of the activations of a pass."""
        return self._once(("activations", pass_.slug), lambda: self._of_activations(pass_))

    def sae(self, cohort: Cohort | ExternalCohort, seed: int) -> str:
        """Of an SAE, trained here or made elsewhere."""
        make = self._of_external_sae if isinstance(cohort, ExternalCohort) else self._of_trained_sae
        return self._once(("sae", cohort.slug, seed), lambda: make(cohort, seed))

    def evaluation(self, cohort: Cohort | ExternalCohort, seed: int) -> str:
        """Of an SAE's evaluation."""
        code = code_hash("evaluate", *_saved(cohort))
        if isinstance(cohort, Cohort):
            return key(self.sae(cohort, seed), code)  # the SAE's own rests on the activations
        heldout = self.activations(cohort.pass_) if cohort.pass_ else None
        return key(self.sae(cohort, seed), heldout, cohort.hookpoint, code)

    def match(self, cohort: Cohort | ExternalCohort, a: int, b: int) -> str:
        """Of the match of two SAEs."""
        return key(self.evaluation(cohort, a), self.evaluation(cohort, b), code_hash("match", *_saved(cohort)))

    def fresh_tokens(self, tokens: TokenSet) -> str:
        """Of further held-out token blocks, for firing alone."""
        return key(self.tokens(tokens), self._study.firing.tokens, code_hash("fresh-tokens"))

    def firing(self, cohort: Cohort | ExternalCohort, seed: int) -> str:
        """Of what an SAE's latents fire on, and their contexts."""
        rows = [self.activations(cohort.pass_), cohort.hookpoint, self._study.firing.tokens]
        if uses_model(self._study.firing, cohort.pass_):
            rows.append(self.fresh_tokens(cohort.pass_.tokens))
        settings = sorted(self._study.firing.contexts.items())
        return key(self.sae(cohort, seed), rows, settings, self._study.device, code_hash("firing", *_saved(cohort)))

    def cofiring(self, cohort: Cohort | ExternalCohort, a: int, b: int) -> str:
        """Of how far matched latents of two SAEs fire together."""
        return key(self.firing(cohort, a), self.firing(cohort, b), self.match(cohort, a, b))

    def substitution(self, cohort: Cohort | ExternalCohort, a: int, b: int) -> str:
        """Of what a pair's latents are worth beside their counterparts."""
        rows = [self.activations(cohort.pass_), cohort.hookpoint, self._study.device]
        code = code_hash("substitution", *_saved(cohort))
        saes = [self.sae(cohort, seed) for seed in (a, b)]
        return key(saes, self.match(cohort, a, b), rows, self._study.threshold, code)

    def consensus(self, cohort: Cohort | ExternalCohort) -> str:
        """Of a cohort's groups of latents and its consensus SAEs."""
        matches = [[a, b, self.match(cohort, a, b)] for a, b in cohort.pairs]
        rows = [cohort.pass_ and self.activations(cohort.pass_), cohort.hookpoint, self._study.device]
        code = code_hash("consensus", *_saved(cohort))
        return key(self._evaluations(cohort), matches, rows, self._study.threshold, code)

    def meta(self, cohort: Cohort) -> str:
        """Of meta-SAEs beside their baselines."""
        lenders = meta.lenders(self._study, cohort)
        saes = [self.sae(cohort, seed) for seed in cohort.seeds]
        lent = [[other.slug, self.sae(other, other.seeds[0])] for other in lenders]
        used = [_saved(cohort), _trained_by(cohort.architecture)]
        code = code_hash("meta-baselines", *dict.fromkeys(name for names in used for name in names))
        return key(self.activations(cohort.pass_), cohort.pass_.decoder_of, saes, lent, code)

    def choice(self, cohort: Cohort) -> str:
        """Of the choices of explanations by the parts of latents."""
        interpret, (of, seed) = self._study.interpret, choice.taken_apart(self._study, cohort)
        taken_apart = self._study.cohorts[of]
        saes = [self.sae(taken_apart, seed), *(self.sae(cohort, one) for one in cohort.seeds)]
        said = self.explanations(interpret.explainers[0], taken_apart, seed)
        code = code_hash("choice", *dict.fromkeys([*_saved(cohort), *_saved(taken_apart)]))
        return key(saes, said, self._judge(interpret.choice), interpret.seed, code)

    def stitch(self, stitch: Stitch, number: int) -> str:
        """Of a pair of neighbours in a chain."""
        saes = [(self._study.cohorts[name], seed) for name, seed in stitch.pairs[number]]
        cohort = saes[0][0]
        made_from = [self.sae(*sae) for sae in saes]
        rows = [self.activations(cohort.pass_), cohort.hookpoint, self._study.device]
        settings = [stitch.threshold, stitch.order, stitch.order_seed, stitch.bias]
        saved = dict.fromkeys(name for one, _ in saes for name in _saved(one))
        return key(made_from, rows, settings, code_hash("stitch", *saved))

    def floor(self) -> str:
        """Of every match of random dictionaries: the seed of each is its place."""
        return key(code_hash("floor"))

    def overlap(self, cohort: Cohort | ExternalCohort) -> str:
        """Of a cohort's overlap tables."""
        return self._once(("overlap", cohort.slug), lambda: self._of_overlap(cohort))

    def table(self, figure: Figure) -> str:
        """Of a figure's table."""
        return self._once(("table", figure.slug), lambda: self._of_table(figure))

    def drawing(self, figure: Figure) -> str:
        """Of a figure's pictures and caption."""
        code = code_hash("figure", FIGURES[figure.figure].drawing)
        return key(self.table(figure), self._study.style, code)

    def summary(self) -> str:
        """Of the key numbers in words."""
        cohorts, compared = list(self._study.cohorts.values()), list(self._study.compared.values())
        told = [self._study.name, about(self._study, compared[0])]
        tables = [[cohort.slug, self.overlap(cohort)] for cohort in compared]
        controls = [self.table(figure) for figure in control_figures(self._study)]
        return key(told, tables, [self._evaluations(cohort) for cohort in cohorts], controls, code_hash("summary"))

    def report(self) -> str:
        """Of the paper."""
        return key(self.workflow_report(), facts(self._study), code_hash("report"))

    def workflow_report(self) -> str:
        """Of Snakemake's own report."""
        figures = [[slug, self.drawing(figure)] for slug, figure in self._study.figures.items()]
        return key(figures, self.summary())

    def explorer(self) -> str:
        """Of the site in which latents are looked at."""
        study = self._study
        told = [study.name, study.threshold, [about(study, cohort) for cohort in study.compared.values()]]
        cohorts = [[cohort.slug, self.overlap(cohort)] for cohort in study.compared.values()]
        fired = map(study.cohorts.get, study.firing.cohorts)
        # What latents fire together rests on the matches, as the overlap tables do.
        fires = [[cohort.slug, seed, self.firing(cohort, seed)] for cohort in fired for seed in cohort.seeds]
        said = [
            [explainer, name, seed, self.explanations(explainer, study.cohorts[name], seed)]
            for name in study.interpret.cohorts
            for explainer in study.interpret.explainers
            for seed in study.cohorts[name].seeds
        ]
        scored = [[*names, self.score_summary(*names)] for names in score.combinations(study)]
        stitches = [[s, n, self.stitch(found, n)] for s, found in study.stitches.items() for n in found.pairs]
        grouped = [[cohort.slug, self.consensus(cohort)] for cohort in consensus.cohorts(study)]
        apart = explorer.metas(study)
        metas = [[of.slug, n, self.sae(of, n), by.slug, self.sae(by, by.seeds[0])] for of, n, by in apart]
        heads = [(study.cohorts[slug], model) for slug, model in explorer.heads(study).items()]
        boosted = [
            [cohort.slug, [self.sae(cohort, seed) for seed in cohort.seeds], self._contents.of_model(model)]
            for cohort, model in heads
        ]
        read = [cohort for of, _, by in apart for cohort in (of, by)] + [cohort for cohort, _ in heads]
        code = code_hash("explorer", *dict.fromkeys(name for cohort in read for name in _saved(cohort)))
        shown = [*metas, *boosted]
        return key(told, cohorts, fires, said, scored, stitches, grouped, shown, explorer.site_digest(), code)

    def explanations(self, explainer: str, cohort: Cohort | ExternalCohort, seed: int) -> str:
        """Of what a judge says of an SAE's latents."""
        return self._once(
            ("explanations", explainer, cohort.slug, seed), lambda: self._of_explanations(explainer, cohort, seed)
        )

    def scores(self, explainer: str, scorer: str, cohort: str, seed: int) -> str:
        """Of the scores of an SAE's explanations."""
        name = ("scores", explainer, scorer, cohort, seed)
        return self._once(name, lambda: self._of_scores(explainer, scorer, cohort, seed))

    def similarity(self, explainer: str, cohort: str) -> str:
        """Of the comparison of explanations of matched latents."""
        found = self._study.cohorts[cohort]
        said = [[seed, self.explanations(explainer, found, seed)] for seed in found.seeds]
        judge = self._judge(self._study.interpret.similarity)
        return key(said, self._matched(found, found.seeds), judge, code_hash("explanation-similarity"))

    def score_summary(self, explainer: str, scorer: str, cohort: str) -> str:
        """Of what the scores of a cohort come to."""
        seeds = self._study.cohorts[cohort].seeds
        scores = [[seed, self.scores(explainer, scorer, cohort, seed)] for seed in seeds]
        return key(scores, code_hash("score-summary"))

    def _of_tokens(self, tokens: TokenSet) -> str:
        sources = [self._contents.of_model(tokens.model), self._contents.of_corpus(tokens.corpus)]
        shuffled = ["shuffled"] if tokens.shuffle_tokens else []
        return key(sources, [getattr(tokens, size) for size in _TOKEN_SIZES], code_hash("tokenize"), *shuffled)

    def _of_activations(self, pass_: Pass) -> str:
        names = [field.name for field in dataclasses.fields(pass_) if field.name not in _NOT_ACTIVATIONS]
        if pass_.decoder_of:
            source = self._of_decoder_rows(pass_)
        else:
            source = self.tokens(pass_.tokens) if pass_.tokens else self._contents.of([pass_.matrix])
        code = code_hash(activations.verb(pass_))
        part = [pass_.model.part] if pass_.model and pass_.model.part else []
        return key(source, [getattr(pass_, name) for name in names], self._study.device, code, *part)

    def _of_decoder_rows(self, pass_: Pass) -> list:
        """The SAEs, and for `alive` what says which of their latents fire."""
        saes = [(self._study.cohorts[cohort], seed) for cohort, seed in pass_.decoder_of]
        made_from = [self.sae(*sae) for sae in saes]
        return [made_from, [self.evaluation(*sae) for sae in saes] if pass_.alive else None]

    def _of_trained_sae(self, cohort: Cohort, seed: int) -> str:
        init_seed, order_seed = cohort.sae_seeds[seed]
        training = {**cohort.training, "order_seed": order_seed}
        code = code_hash("train", *_trained_by(cohort.architecture))
        return key(self.activations(cohort.pass_), training, init_seed, self._study.device, code)

    def _of_external_sae(self, cohort: ExternalCohort, seed: int) -> str:
        sae = cohort.saes[seed]
        source = self._contents.of(local_files(sae)) if sae.path else [sae.repo, sae.folder, sae.revision]
        return key(source, format_of(cohort, seed), _import_code(format_of(cohort, seed)))

    def _evaluations(self, cohort: Cohort | ExternalCohort) -> list:
        return [[seed, self.evaluation(cohort, seed)] for seed in cohort.seeds]

    def _of_overlap(self, cohort: Cohort | ExternalCohort) -> str:
        matches = [[a, b, self.match(cohort, a, b)] for a, b in cohort.pairs]
        floors = [cohort.n_latents, cohort.d_model, self._study.floor_repeats, self.floor()]
        code = code_hash("overlap", *_saved(cohort))
        return key(cohort.slug, matches, self._evaluations(cohort), floors, self._study.threshold, code)

    def _of_table(self, figure: Figure) -> str:
        kind = FIGURES[figure.figure]
        # Matches and evaluations are what the overlap tables were made from themselves.
        tables = [[label, self.overlap(cohort)] for label, cohort in labelled(self._study, figure)]
        cohorts = [self._study.cohorts[cohort] for _, cohort in figure.inputs]
        besides = []
        if "firing" in kind.extra:
            besides += [self.firing(cohort, seed) for cohort in cohorts for seed in cohort.seeds]
        if "cofiring" in kind.extra:
            besides += [self.cofiring(cohort, *pair) for cohort in cohorts for pair in cohort.pairs]
        if "substitution" in kind.extra:
            besides += [self.substitution(cohort, *pair) for cohort in cohorts for pair in cohort.pairs]
        if "consensus" in kind.extra:
            besides += [self.consensus(cohort) for cohort in cohorts]
        if "meta" in kind.extra:
            besides += [[self.meta(c), *(self.overlap(o) for o in meta.flat(self._study, c))] for c in cohorts]
            besides += [self.choice(c) for c in cohorts if choice.taken_apart(self._study, c)]
        if figure.stitch is not None:
            besides += self._stitched(self._study.stitches[figure.stitch])
        besides += [[*names, self.scores(*names)] for names in scored(self._study, figure)]
        besides += [one for cohort in cohorts for one in self._interpreted(cohort, kind.extra)]
        return key(kind.name, tables, code_hash("figure-table", kind.table), *besides)

    def _stitched(self, stitch: Stitch) -> list[str]:
        """Of the pairs of a chain; of their match, and of the overlap tables, where both SAEs are of one cohort."""
        marks = [self.stitch(stitch, number) for number in stitch.pairs]
        for (name, small), (other, large) in stitch.pairs.values():
            if name == other:
                cohort = self._study.cohorts[name]
                marks += [self.match(cohort, *sorted((small, large))), self.overlap(cohort)]
        return marks

    def _interpreted(self, cohort: Cohort | ExternalCohort, extra: tuple[str, ...]) -> list[str]:
        """Of the scores, or of the comparison of explanations, that a figure of a cohort reads."""
        if "explained" in extra:
            return [self.scores(*self._study.interpret.drawn, cohort.slug, seed) for seed in cohort.seeds]
        if "similarity" in extra:
            return [self.similarity(self._study.interpret.drawn[0], cohort.slug)]
        return []

    def _of_explanations(self, explainer: str, cohort: Cohort | ExternalCohort, seed: int) -> str:
        interpret = self._study.interpret
        sample = [interpret.latents, interpret.shown_windows, interpret.seed]
        contexts = [self.firing(cohort, one) for one in dict.fromkeys((cohort.seeds[0], seed))]
        matched = self._matched(cohort, [seed])
        return key(contexts, matched, self._judge(explainer), sample, code_hash("explain"))

    def _of_scores(self, explainer: str, scorer: str, cohort: str, seed: int) -> str:
        interpret, found = self._study.interpret, self._study.cohorts[cohort]
        asked = interpret.scorers[scorer]
        sample = [interpret.latents, interpret.shown_windows, interpret.scored_windows, interpret.draws, interpret.seed]
        said = None if explainer == WITHOUT_EXPLANATION else self.explanations(explainer, found, seed)
        # Members of a group share their negatives, so the scores of one SAE rest on the contexts of all.
        contexts = [self.firing(found, one) for one in found.seeds]
        made_from = [contexts, self._matched(found, found.seeds), self.sae(found, seed), said]
        return key(made_from, asked.kind, self._judge(asked.judge), sample, code_hash("score"))

    def _matched(self, cohort: Cohort | ExternalCohort, seeds: Iterable[int]) -> list[str]:
        """Of the first SAE's matches with these."""
        first = cohort.seeds[0]
        return [self.match(cohort, first, seed) for seed in seeds if seed != first]

    def _judge(self, name: str) -> list:
        """What decides a judge's answers."""
        settings = judges.deciding(self._study, name)
        if not judges.computes(self._study, name):
            return [settings]
        return [settings, self._contents.of_model(self._study.models[settings["model"]]), self._study.device]

    def _once(self, name: tuple, make: Callable[[], str]) -> str:
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]


def _trained_by(architecture: str) -> list[str]:
    """What training looks up by the name of an architecture. An edit of another one retrains nothing here."""
    sae = "sae_stability.sae"
    return [f"{sae}.training.steps.{architecture}", f"{sae}.architectures.REGISTRY[{architecture}]"]


def _saved(cohort: Cohort | ExternalCohort) -> list[str]:
    """What reading a cohort's SAEs looks up by name: the own format, and what an SAE trained here means in it."""
    return [OWN_FORMAT, *([f"{OWN_FORMAT}.TRAINED[{cohort.architecture}]"] if isinstance(cohort, Cohort) else [])]


def _import_code(format: str | None) -> str:
    """The code that reads an SAE of a format and writes it in the project's own; of every format for None."""
    read = list(FORMATS.values()) if format is None else [FORMATS[format]]
    return code_hash("convert", *dict.fromkeys([*read, OWN_FORMAT]))

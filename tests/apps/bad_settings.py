"""The table of test_bad_settings.py: command lines that make no sense, and the words that each sentence must hold.

`KEYS` lists keys of conf/ by what they take; every key is given every setting of `WRONG` for its kind. `WRITTEN` is
written by hand: parts that don't fit each other, misspelt groups, and what Hydra itself can't read.
"""

# What a line has to begin with so that the key is there.
NEEDS = {
    "estimator.budget": "estimator=mine",
    "estimator.dimension": "estimator=mine",
    "estimator.hidden": "estimator=club",
    "estimator.negatives": "estimator=info_nce",
    "penalty.view.sketch": "penalty=update_rows",
    "penalty.view.tokens": "penalty=activations",
    "penalty.view.factor": "penalty=factor_b",
    "plan.divisions": "plan=loss_weighting",
    "plan.margin": "plan=margin_weighting",
    "plan.constraint": "plan=orthogonal_complement",
    "composition.density": "composition=ties policy=merged",
    "composition.normalise": "composition=ties policy=merged",
    "composition.drop": "composition=dare policy=merged",
    "objective.gamma": "objective=simpo",
    "search.budget": "search=adaptive",
    "search.batch": "search=adaptive",
    "search.n": "search=sobol",
    "search.resolution": "search=simplex",
    "reward.beta": "reward=implicit",
    "reward.sign": "reward=length",
    "reward.target": "reward=length",
    "filter": "filter=consistency",
    "model.source.hidden_size": "model=tiny_llama",
    "model.source.layers": "model=tiny_llama",
    "model.source.seed": "model=tiny_llama",
    "model.source.architecture": "model=tiny_llama",
    "model.source.path": "model=smollm2_hub",
    "model.source.revision": "model=smollm2_hub",
    "tracking": "tracking=wandb",
    "data.values.helpful.format.prefer": "data=bundled value.names=[brief] data.values.helpful=${data.values.brief}",
    "data.values.helpful.train.paths": "data=files value.names=[helpful]",
    "data.values.helpful.validation_fraction": "data=files value.names=[helpful] data.values.helpful.train.paths=a.jsonl",
    "data.values.helpful.test_fraction": "data=files value.names=[helpful] data.values.helpful.train.paths=a.jsonl",
}
# By kind: what no key of that kind takes.
WRONG = {
    "count": ["-1", "0", "1.5", "nan", "inf", "true", "word", "[]", "1000000000000", "1e12"],
    "count or 0": ["-1", "1.5", "nan", "true", "word", "{}", "1000000000000"],
    "whole": ["null", "1.5", "true", "word", "''", "[1]", "-1"],
    "positive": ["0", "-1", "nan", "inf", "true", "word", "[0.1]", "null"],
    "not negative": ["-1", "nan", "inf", "false", "word", "{a: 1}"],
    "share": ["-0.1", "1.1", "nan", "word", "true"],
    "switch": ["1", "maybe", "null", "[true]"],
    "choice": ["bogus", "''", "1", "null", "[a]"],
    "text": ["''", "5", "true", "[a]", "{a: 1}"],
    "texts": ["word", "5", "null", "[1]", "['']", "{a: 1}"],
}
KEYS = {
    "count": [
        "trainer.recipe.steps", "trainer.recipe.batch_size", "trainer.recipe.accumulate", "adapter.rank",
        "evaluation.n_validation_prompts", "evaluation.n_test_prompts", "evaluation.n_reward_pairs", "evaluation.samples",
        "evaluation.n_pairs",
        "evaluation.generation.max_new_tokens", "evaluation.generation.batch_size", "reward.batch_size",
        "evaluation.generation.max_prompt_tokens", "data.limits.prompt", "data.limits.response", "reward.limits.prompt",
        "data.max_train_pairs", "search.levels", "search.budget", "search.batch", "search.n", "search.resolution",
        "plan.divisions", "estimator.budget.warmup", "estimator.dimension", "estimator.hidden", "estimator.negatives",
        "model.source.hidden_size", "model.source.layers", "tune.trials", "tune.at_once", "export.rank",
        "serve.max_new_tokens", "penalty.view.sketch", "penalty.view.tokens", "reward.folds", "reward.members",
    ],
    "count or 0": [
        "trainer.execution.checkpoint_every", "trainer.execution.validation_pairs", "trainer.execution.snapshot_every",
        "estimator.budget.steps", "serve.port",
    ],
    "whole": ["seed", "evaluation.generation.seed", "tune.seed", "model.source.seed"],
    "positive": [
        "trainer.recipe.learning_rate", "trainer.recipe.epochs", "adapter.alpha", "objective.beta", "estimator.sigma",
        "estimator.budget.learning_rate", "composition.density", "plan.constraint.energy", "reward.beta",
    ],
    "not negative": [
        "trainer.recipe.weight_decay", "trainer.recipe.max_grad_norm", "penalty.strength", "objective.gamma",
        "evaluation.generation.temperature", "evaluation.reference_margin", "reward.target", "evaluation.pessimism",
        "judge.price_per_million_tokens",
    ],
    "share": [
        "trainer.recipe.warmup", "adapter.dropout", "objective.label_smoothing", "evaluation.generation.top_p",
        "composition.drop", "data.values.helpful.validation_fraction", "data.values.helpful.test_fraction",
    ],
    "switch": [
        "adapter.rslora", "penalty.baseline", "search.include_zero", "search.include_corners", "model.system_as_user",
        "report.mirror", "serve.open", "judge.dry_run", "filter.scaled", "debug.traceback",
    ],
    "choice": [
        "trainer.recipe.schedule", "trainer.execution.accelerator", "trainer.execution.precision", "model.dtype",
        "data.on_bad_row", "data_changed", "export.form", "tune.sampler", "tracking.mode", "plan.margin",
        "composition.normalise", "penalty.view.factor", "model.source.architecture", "evaluation.reference_point",
        "plan.constraint.acts_on", "evaluation.by",
    ],
    "text": ["paths.cache", "paths.outputs", "tracking.project", "serve.host", "judge.against", "model.source.path",
             "model.source.revision", "data.values.helpful.train.paths"],
    "texts": ["value.names", "report.forms", "serve.hosts"],
}  # fmt: skip
# Settings that some keys of a kind do take.
TAKEN = {
    ("trainer.recipe.steps", "null"), ("data.values.helpful.train.paths", "[a]"), ("report.forms", "[]"),
}  # fmt: skip

WRITTEN = """
trainer.recipe.epochs=1e12                                  | trainer.recipe.epochs, at most 10000
trainer.recipe.schedule=step                                | trainer.recipe.schedule is 'step', constant, linear or cosine
+trainer.recipe.epoch=1                                     | trainer.recipe.epoch is no setting of Recipe, epochs
trainer.execution.strategy=bogus                            | trainer.execution.strategy is 'bogus', auto
trainer.execution.devices=2                                 | trainer.execution.devices is 2, one device
trainer.execution.devices=[0,1]                             | trainer.execution.devices is [0, 1]
~trainer.recipe                                             | trainer.recipe is missing
~trainer                                                    | trainer is null
~plan                                                       | plan is null
evaluation.pessimism=1 reward=length                        | evaluation.pessimism is 1, helpful, no ensemble
evaluation.pessimism=0.5 reward.members=1                   | evaluation.pessimism is 0.5, no ensemble
evaluation.pessimism=1 rewards.harmless={_target_:mva.rewards.length.Length} | evaluation.pessimism is 1, harmless
composition=ties                                            | policy=per_row, policy=merged
composition=dare                                            | policy=per_row, policy=merged
composition=average                                         | policy=per_row, policy=merged
composition=log_probs                                       | policy=per_row, policy=mixture
policy=mixture                                              | policy=mixture, composition=log_probs
method=mod_decoding evaluation.by=pairs                     | evaluation.by is pairs, evaluation.by=responses
objective=simpo evaluation.by=both                          | evaluation.pair_beta is null, SimPO
evaluation.by=pairs evaluation.reward_check=[a.jsonl]       | evaluation.reward_check is for rewards, evaluation.by=both
select.most=honest                                          | select.most is 'honest', helpful, harmless
select.limits.kl=0.5                                        | select.limits.kl, side cost, words
select.limits.refusals=2                                    | select.limits.refusals is 2, from 0% to 100%
select.limits.words=-1                                      | select.limits.words is -1, at least 0
select.limits.words=nan                                     | select.limits.words
select.limits.helpful=0%                                    | select.limits.helpful is '0%', 1% to 100%
select.limits.words=50 evaluation.by=pairs                  | select.limits.words needs responses
evaluation.pair_beta=0                                      | evaluation.pair_beta is 0, above 0
composition=log_probs policy=merged                         | policy=merged, policy=mixture
search=adaptive search.surface=cubic                        | search.surface is 'cubic', smooth or quadratic
search=simplex extrapolation.maximum=0.3                    | No convex combination, extrapolation.maximum
search=simplex search.resolution=1000 value=five            | search.resolution is 1000, candidates
search=sobol search.n=1e9                                   | search.n is 1000000000.0, whole number
search=sobol search.n=1000000000                            | search.n is 1000000000, at most 100000
search.levels=1000000                                       | search.levels is 1000000, at most 100000
search.levels=20 value=five                                 | 20 levels, search.levels, search=sobol
search=listed search.candidates=[]                          | search.candidates is []
search=listed search.candidates=5                           | search.candidates is 5, a list
search=listed search.candidates=[5]                         | search.candidates[0] is 5
search=listed search.candidates=[{kind:1}]                  | search.candidates[0], helpful, harmless
search=listed search.candidates=[{helpful:1}]               | search.candidates[0], helpful, harmless
search=listed search.candidates=[{helpful:x,harmless:1}]    | search.candidates[0].helpful is 'x', a number
search=listed search.candidates=[{helpful:nan,harmless:1}]  | search.candidates[0].helpful is nan
search=listed                                               | leaves open search.candidates
plan=loss_weighting plan.divisions=1000 value=five          | plan.divisions is 1000, vectors
evaluation.samples=2 evaluation.generation.temperature=0    | evaluation.samples is 2, but generation.temperature is 0
evaluation.cluster=[topic]                                  | evaluation.cluster is
evaluation.reference_point={helpful:1}                      | evaluation.reference_point names helpful, harmless
evaluation.reference_point={helpful:1,harmless:1,kind:1}    | evaluation.reference_point names, kind
evaluation.reference_point={helpful:nan,harmless:1}         | evaluation.reference_point.helpful is nan
evaluation.reference_point=-2                               | evaluation.reference_point is -2, nadir
+evaluation.score_scaling=zscore                            | evaluation.score_scaling is no setting
extrapolation.maximum=0                                     | extrapolation.minimum, maximum
extrapolation.maximum=inf                                   | extrapolation.maximum is inf
extrapolation.maximum={helpful:2}                           | extrapolation.maximum has bounds for helpful
extrapolation.minimum=word                                  | extrapolation.minimum is 'word'
extrapolation=null                                          | extrapolation is null
adapter.targets=[q_proj,1]                                  | adapter.targets[1] is 1
adapter.targets=[]                                          | adapter.targets is []
adapter.targets={q:1}                                       | adapter.targets is {'q': 1}
adapter.rank=2 estimator=normalized_hsic                    | adapter.rank is 2, NormalizedHSIC, at least 4
adapter.rank=3 estimator=club                               | adapter.rank is 3, CLUB
adapter._target_=mva.search.grid.Grid ~adapter.rank         | adapter.
policy._target_=mva.search.one_hot.OneHot                   | policy is a OneHot, PolicySpec
search._target_=mva.policies.merged.MergedPolicy            | search.
+policy._partial_=true                                      | policy._partial_ is no setting
+estimator._args_=[1]                                       | estimator._args_ is no setting
objective._target_=mva.no.such.Thing                        | mva.no.such.Thing, can't be found
objective._target_=os.system                                | os.system, MVA_PLUGINS
objective._target_=5                                        | _target_ '5'
penalty.view={_target_:mva.estimators.samples.FactorRows,factor:C} | penalty.view.factor is 'C', A or B
penalty.view=word                                           | penalty.view is 'word'
estimator=correlation penalty=update_rows                   | Correlation, penalty.view
composition=dare policy=merged composition.then=word        | composition.then is 'word'
composition=dare policy=merged composition.then._target_=mva.composition.ties.Ties +composition.then.density=2 | composition.then.density is 2
value.names=[helpful,kind]                                  | value.names, kind, offers helpful
value.names=[]                                              | value.names is [], not empty
value.names=[helpful,helpful]                               | value.names, only once
value=null                                                  | value is null, five
reward=sequence_classifier                                  | reward.label, reward.path
rewards.kind.path=x                                         | rewards, kind
rewards.helpful=5                                           | rewards.helpful is 5
rewards=5                                                   | rewards
reward.layers=[0.5,1.5]                                     | reward.layers[1] is 1.5
reward.layers=0.6                                           | reward.layers is 0.6, a list
reward.pooling=[max]                                        | reward.pooling[0] is 'max', mean or last
reward.inverse_penalties=[0]                                | reward.inverse_penalties[0] is 0
reward.limits=null                                          | reward.limits is null
filter=consistency filter.threshold=1                       | filter.threshold is 1
+filter.threshold=0.5                                       | filter
model.device=bogus                                          | model.device is 'bogus', cpu, cuda
model.device=cpu:3                                          | model.device is 'cpu:3'
model.device=''                                             | model.device is ''
model.source=word                                           | model.source is 'word'
model.template_kwargs=word                                  | model.template_kwargs
~model.source                                               | model.source is missing
model=local                                                 | leaves open model.source.path
data=files value.names=[helpful]                            | leaves open data.values.helpful.train.paths
data.values=null                                            | data.values is null
data.values.helpful=null                                    | data.values.helpful is null
+data.values.helpful.split=x                                | data.values.helpful.split is no setting, split_field
+data.limit=1                                               | data.limit is no setting, limits
data.limits=5                                               | data.limits is 5
tracking.project=a/b                                        | tracking.project is 'a/b'
paths.cache='~no_such_user/x'                               | paths.cache, user
run='~no_such_user/x'                                       | run is, user
seed=${nope}                                                | seed, nope
seed=${oc.env:NO_SUCH_VARIABLE}                             | seed, NO_SUCH_VARIABLE
seed=${nope:1}                                              | seed, nope
paths.cache=${paths.cache}                                  | paths.cache
coefficients.helpful=nan                                    | coefficients.helpful is nan
coefficients.helpful=much                                   | coefficients.helpful is 'much'
adapters.helpful=5                                          | adapters.helpful is 5
adapters.helpful=null                                       | adapters.helpful is null
candidate=5                                                 | candidate is 5, quotes
experiment_name=null                                        | experiment_name is null
report.forms=[bogus]                                        | report.forms[0] is 'bogus', svg or pdf
serve.port=65536                                            | serve.port is 65536, 65535
serve.hosts=['*.lan']                                       | serve.hosts, pattern
tune.space=5                                                | tune.space is 5
judge=endpoint judge.by=null                                | judge
trainer=5                                                   | trainer is 5, default, paper
search=null                                                 | search is null, grid
search={a:1}                                                | search is {a:1}, grid
search=bogus                                                | search/bogus, grid
penalty.strenght=1                                          | penalty.strenght
nothing.here=1                                              | nothing.here
~nothing                                                    | nothing
+seed=1                                                     | seed
seed=1,2                                                    | seed, -m
seed=[                                                      | seed=[
seed                                                        | 'seed', key=value
+++seed=1                                                   | +++seed=1
=5                                                          | group
adapters=[a]                                                | adapters=[a], ListConfig
"""  # one case a line

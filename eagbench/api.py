"""Everything that a plugin may import from eagbench. Anything else may change without notice."""

from __future__ import annotations

from eagbench.config.bounded_yaml import read_yaml_file
from eagbench.config.folders import policies_root
from eagbench.config.prompt_files import read_wording
from eagbench.config.settings import AnswerMode, RecordTextParams
from eagbench.contracts.answers import Prediction, ScoredCases, Trajectory
from eagbench.contracts.cohort_stream import CaseBlock, CohortStream
from eagbench.contracts.components import (
    ComparesPatients,
    Dataset,
    Expert,
    Method,
    Metric,
    Perturbation,
    Policy,
    Prompt,
    Reward,
    RewordsPrompts,
    Search,
    SearchResult,
    SearchTask,
    SourceGenerator,
    StrictParams,
    Tracker,
)
from eagbench.contracts.data_sources import DataSource, FetchableDataset, SourceFile
from eagbench.contracts.executors import ComputeStage, Executor, SubmitsJobs
from eagbench.contracts.hooks import Register, hookimpl
from eagbench.contracts.language_models import (
    AttentionProbe,
    Generation,
    KnowsItsMemory,
    LanguageModel,
    OnSeveralDevices,
    PromptCounter,
    RemembersTexts,
    Sampling,
    SharesPrompts,
    TextEncoder,
    Thought,
    TrainableLanguageModel,
    WritesOn,
)
from eagbench.contracts.method_plan import MethodPlan
from eagbench.contracts.policy_abilities import CountsPrompts, FetchablePolicy
from eagbench.contracts.prompts import FORMATS, AnswerFormat, Wording
from eagbench.contracts.records import (
    SOURCE_SPLIT,
    Access,
    BoolArray,
    Case,
    Cases,
    Cohort,
    Distractor,
    Feature,
    FloatArray,
    IntArray,
    LabelledCases,
    Provenance,
    Reads,
    Rendering,
    ResultTimes,
    Task,
    TrainingData,
)
from eagbench.contracts.renamed import warn_renamed
from eagbench.contracts.saving import files_under, load_arrays, load_estimator, save_arrays, save_estimator
from eagbench.contracts.stage_counts import count_tokens, report_loss
from eagbench.contracts.stages import ComponentUse, StageLost, StageNode, StageRun
from eagbench.contracts.traits import (
    DatasetTraits,
    ExecutorTraits,
    ExpertTraits,
    MethodTraits,
    MetricTraits,
    PerturbationTraits,
    PolicyTraits,
    PromptTraits,
    RewardTraits,
    SearchTraits,
    TrackerTraits,
    traits_of,
)
from eagbench.errors import UserError
from eagbench.execution.device_processes import DeviceProcesses, is_device_process
from eagbench.prompting.answer_cache import ResponseCache, response_cache
from eagbench.prompting.answering import Question, answer_cases, answer_prompts, answer_with_policy, open_policy
from eagbench.prompting.answers import FeatureVocabulary, probability_text, read_answer, write_answer
from eagbench.prompting.attention import attention_probe, measure_attention
from eagbench.prompting.hugging_face import quiet_transformers
from eagbench.prompting.other_names import NameKind, NamePart, TrainingNames, other_names, under_other_names
from eagbench.prompting.prior import write_prior
from eagbench.prompting.prompt_length import refuse_long_prompts
from eagbench.prompting.prompt_specs import PromptSpec, style_of
from eagbench.prompting.record import RecordText, Span
from eagbench.prompting.registered import PromptFile
from eagbench.prompting.styles import (
    ANSWER_LEVELS,
    STYLES,
    Style,
    StyleName,
    compose_prompt,
    prompt_text,
    prompt_with_spans,
    question,
    style_for,
)
from eagbench.prompting.thoughts import FROM_SERVER, NO_THOUGHT, TEMPLATE_OPENS, ThoughtFormat, TokenThoughts
from eagbench.registry.plugins import create_component
from eagbench.stages.salience import read_cross_fitted_probability, read_salience, top_observed
from eagbench.stats.list_controls import CitedCases, control_overlaps
from eagbench.stats.masking import complete_features, mask_complete
from eagbench.stats.record_arrays import as_recorded, time_grid
from eagbench.stats.record_summary import RecordSummary, Statistic
from eagbench.vocabulary.concepts import Concept, Conversion, SourceItem
from eagbench.vocabulary.vocabulary import Vocabulary, vocabulary

__all__ = [
    "ANSWER_LEVELS",
    "FORMATS",
    "FROM_SERVER",
    "NO_THOUGHT",
    "SOURCE_SPLIT",
    "STYLES",
    "TEMPLATE_OPENS",
    "Access",
    "AnswerFormat",
    "AnswerMode",
    "AttentionProbe",
    "BoolArray",
    "Case",
    "CaseBlock",
    "Cases",
    "CitedCases",
    "Cohort",
    "CohortStream",
    "ComparesPatients",
    "ComponentUse",
    "ComputeStage",
    "Concept",
    "Conversion",
    "CountsPrompts",
    "DataSource",
    "Dataset",
    "DatasetTraits",
    "DeviceProcesses",
    "Distractor",
    "Executor",
    "ExecutorTraits",
    "Expert",
    "ExpertTraits",
    "Feature",
    "FeatureVocabulary",
    "FetchableDataset",
    "FetchablePolicy",
    "FloatArray",
    "Generation",
    "IntArray",
    "KnowsItsMemory",
    "LabelledCases",
    "LanguageModel",
    "Method",
    "MethodPlan",
    "MethodTraits",
    "Metric",
    "MetricTraits",
    "NameKind",
    "NamePart",
    "OnSeveralDevices",
    "Perturbation",
    "PerturbationTraits",
    "Policy",
    "PolicyTraits",
    "Prediction",
    "Prompt",
    "PromptCounter",
    "PromptFile",
    "PromptSpec",
    "PromptTraits",
    "Provenance",
    "Question",
    "Reads",
    "RecordSummary",
    "RecordText",
    "RecordTextParams",
    "Register",
    "RemembersTexts",
    "Rendering",
    "ResponseCache",
    "ResultTimes",
    "Reward",
    "RewardTraits",
    "RewordsPrompts",
    "Sampling",
    "ScoredCases",
    "Search",
    "SearchResult",
    "SearchTask",
    "SearchTraits",
    "SharesPrompts",
    "SourceFile",
    "SourceGenerator",
    "SourceItem",
    "Span",
    "StageLost",
    "StageNode",
    "StageRun",
    "Statistic",
    "StrictParams",
    "Style",
    "StyleName",
    "SubmitsJobs",
    "Task",
    "TextEncoder",
    "Thought",
    "ThoughtFormat",
    "TokenThoughts",
    "Tracker",
    "TrackerTraits",
    "TrainableLanguageModel",
    "TrainingData",
    "TrainingNames",
    "Trajectory",
    "UserError",
    "Vocabulary",
    "Wording",
    "WritesOn",
    "answer_cases",
    "answer_prompts",
    "answer_with_policy",
    "as_recorded",
    "attention_probe",
    "complete_features",
    "compose_prompt",
    "control_overlaps",
    "count_tokens",
    "create_component",
    "files_under",
    "hookimpl",
    "is_device_process",
    "load_arrays",
    "load_estimator",
    "mask_complete",
    "measure_attention",
    "open_policy",
    "other_names",
    "policies_root",
    "probability_text",
    "prompt_text",
    "prompt_with_spans",
    "question",
    "quiet_transformers",
    "read_answer",
    "read_cross_fitted_probability",
    "read_salience",
    "read_wording",
    "read_yaml_file",
    "refuse_long_prompts",
    "report_loss",
    "response_cache",
    "save_arrays",
    "save_estimator",
    "style_for",
    "style_of",
    "time_grid",
    "top_observed",
    "traits_of",
    "under_other_names",
    "vocabulary",
    "write_answer",
    "write_prior",
]

# Former names, until 0.2.
_RENAMED = {"FurtherLine": "Distractor", "WrittenAs": "Rendering"}


def __getattr__(name: str) -> object:
    if name in _RENAMED:
        warn_renamed(f"eagbench.api.{name}", f"eagbench.api.{_RENAMED[name]}")
        return globals()[_RENAMED[name]]
    raise AttributeError(f"module 'eagbench.api' has no attribute {name!r}")

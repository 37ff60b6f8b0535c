"""All that a plugin may import from eagbench. What is not here may change without notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eagbench.arrays import time_grid
from eagbench.errors import UserError
from eagbench.hookspecs import Register, hookimpl
from eagbench.prompting.answering import AnswerMode, answer_cases, answer_prompts, answer_with_policy, open_policy
from eagbench.prompting.answers import FeatureVocabulary, probability_text, read_answer, write_answer
from eagbench.prompting.attention import attention_probe, measure_attention
from eagbench.prompting.hugging_face import quiet_transformers
from eagbench.prompting.prior import write_prior
from eagbench.prompting.record import RecordText, RecordTextParams, Span
from eagbench.prompting.styles import (
    ANSWER_LEVELS,
    STYLES,
    Style,
    StyleName,
    compose_prompt,
    prompt_text,
    prompt_with_spans,
    question,
)
from eagbench.protocols import (
    AttentionProbe,
    Dataset,
    Expert,
    Generation,
    LanguageModel,
    Method,
    Metric,
    Perturbation,
    Policy,
    Reward,
    Sampling,
    Search,
    SearchResult,
    SearchTask,
    StrictParams,
    TextEncoder,
    Tracker,
    TrainableLanguageModel,
)
from eagbench.registry import create_component
from eagbench.responses import ResponseCache, response_cache
from eagbench.stage import ComponentUse, StageNode, StageRun
from eagbench.stages.salience import read_cross_fitted_probability, read_salience, top_observed
from eagbench.types import (
    Access,
    BoolArray,
    Case,
    Cases,
    Cohort,
    Feature,
    FloatArray,
    FurtherLine,
    IntArray,
    LabelledCases,
    Prediction,
    Provenance,
    Reads,
    ScoredCases,
    Task,
    TrainingData,
    Trajectory,
    WrittenAs,
)
from eagbench.vocabulary import SourceItem, Vocabulary, vocabulary

if TYPE_CHECKING:
    from eagbench.plan import MethodPlan as MethodPlan

__all__ = [
    "ANSWER_LEVELS",
    "STYLES",
    "Access",
    "AnswerMode",
    "AttentionProbe",
    "BoolArray",
    "Case",
    "Cases",
    "Cohort",
    "ComponentUse",
    "Dataset",
    "Expert",
    "Feature",
    "FeatureVocabulary",
    "FloatArray",
    "FurtherLine",
    "Generation",
    "IntArray",
    "LabelledCases",
    "LanguageModel",
    "Method",
    "Metric",
    "Perturbation",
    "Policy",
    "Prediction",
    "Provenance",
    "Reads",
    "RecordText",
    "RecordTextParams",
    "Register",
    "ResponseCache",
    "Reward",
    "Sampling",
    "ScoredCases",
    "Search",
    "SearchResult",
    "SearchTask",
    "SourceItem",
    "Span",
    "StageNode",
    "StageRun",
    "StrictParams",
    "Style",
    "StyleName",
    "Task",
    "TextEncoder",
    "Tracker",
    "TrainableLanguageModel",
    "TrainingData",
    "Trajectory",
    "UserError",
    "Vocabulary",
    "WrittenAs",
    "answer_cases",
    "answer_prompts",
    "answer_with_policy",
    "attention_probe",
    "compose_prompt",
    "create_component",
    "hookimpl",
    "measure_attention",
    "open_policy",
    "probability_text",
    "prompt_text",
    "prompt_with_spans",
    "question",
    "quiet_transformers",
    "read_answer",
    "read_cross_fitted_probability",
    "read_salience",
    "response_cache",
    "time_grid",
    "top_observed",
    "vocabulary",
    "write_answer",
    "write_prior",
]

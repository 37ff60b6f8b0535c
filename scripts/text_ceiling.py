"""Measure how much of the outcome a record's text says: what LightGBM reads from the words of the quantile form.

    python scripts/text_ceiling.py BENCHMARK [--set data.root=FOLDER] [--folds 5]

No policy answers better than the text that it reads allows. The words of each record (`heart_rate@24h=q6`) become
columns (`heart_rate@24h`) with the bin as their number; LightGBM is fitted and judged by cross-validation among the
benchmark's training patients, patients undivided, so that no held-out patient is looked at. Beside it: the same on the
numbers themselves, as the expert reads them. AUROC as the mean of the folds, with its standard error over them.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from salience_ceiling import parts_of
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from eagbench.config.settings import RecordTextParams, Statistic
from eagbench.contracts.records import Cases, IntArray, LabelledCases
from eagbench.prompting.periods import summaries
from eagbench.prompting.quantile import key
from eagbench.prompting.record import RecordText

WORDS, SEX = re.compile(r"(\S+)=q(\d+)"), re.compile(r"sex=(male|female)")
ALL: tuple[Statistic, ...] = ("lowest", "highest", "mean", "last", "count")
TEXTS: tuple[dict[str, object], ...] = (
    {"periods": 2},
    {"periods": 1},
    {"periods": 4},
    {"periods": 2, "bins": 20},
    {"periods": 1, "shows": ("lowest", "highest")},
    {"periods": 1, "shows": ("lowest", "highest", "mean")},
    {"periods": 1, "shows": ALL},
    {"periods": 2, "shows": ("lowest", "highest", "mean")},
)


def read(cases: Cases, text: RecordText) -> pd.DataFrame:
    """Return the bins that each record's text names, and the sex, (N, words); NaN where a word is not there."""
    rows = []
    for case in cases:
        words = text.render(case, cases)
        row = {name: float(number) for name, number in WORDS.findall(words)}
        if sex := SEX.search(words):
            row["sex"] = float(sex[1] == "male")
        rows.append(row)
    return pd.DataFrame(rows)


def areas(table: pd.DataFrame, labels: IntArray, folds: list[tuple[IntArray, IntArray]]) -> list[float]:
    """Return LightGBM's AUROC in each fold."""
    found = []
    for train, test in folds:
        model = LGBMClassifier(
            n_estimators=300,
            learning_rate=0.03,
            num_leaves=8,
            colsample_bytree=0.5,
            subsample=0.8,
            subsample_freq=1,
            random_state=0,
            n_jobs=1,
            verbose=-1,
        ).fit(table.iloc[train], labels[train])
        found.append(float(roc_auc_score(labels[test], model.predict_proba(table.iloc[test])[:, 1])))
    return found


def numbers(train: LabelledCases) -> pd.DataFrame:
    """Return lowest, highest, mean, last value and count of every feature, unbinned, and the static facts."""
    names, hours, rows = train.cases.feature_names, train.cases.task.window_hours, []
    for case in train.cases:
        shown = summaries(case.values_in_order(names), case.times, hours, 1, ALL)
        row = {key(name, s): float(v) for s, found in shown.items() for name, v in zip(names, found[0], strict=True)}
        rows.append({**row, **case.static})
    return pd.DataFrame(rows)


def main() -> None:
    """Fit and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()
    train = parts_of(args.benchmark, args.sets)[0].train
    drawn = StratifiedGroupKFold(args.folds, shuffle=True, random_state=0)
    folds = list(drawn.split(np.zeros(len(train.labels)), train.labels, groups=train.cases.patient_ids))
    print(f"{len(train.labels)} training cases, {int(train.labels.sum())} events\n")
    print("| text | words a record | AUROC |\n|---|---:|---:|")
    for params in TEXTS:
        text = RecordText(RecordTextParams.model_validate({"values": "quantile", "instructions": "short", **params}))
        table = read(train.cases, text.fit(train.cases))
        print(line(str(params), table, areas(table, train.labels, folds)), flush=True)
    table = numbers(train)
    print(line("the numbers of all five statistics", table, areas(table, train.labels, folds)))


def line(text: str, table: pd.DataFrame, found: list[float]) -> str:
    """Write a line of the table."""
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    return f"| {text} | {table.notna().sum(axis=1).mean():.0f} | {np.mean(found):.3f} ± {error:.3f} |"


if __name__ == "__main__":
    main()

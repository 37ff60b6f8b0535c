#!/usr/bin/env bash
# PyHealth's comprehensiveness of a short list of features removes the whole record: any list scores like the best.
#
# Expected: at 20 % the metric removes a fifth of the values, those with the highest attributions.
# What happens: it removes every value whose attribution is not below the quantile. Where the attribution names fewer
#   values than that (a policy's citations, a sparse explanation, anything cut at zero), the quantile is 0 and so are
#   all others: all values go. Comprehensiveness then is that of an empty record, and sufficiency that of the whole
#   one, for whatever list. A single value as an input of its own (an age) goes at every percentage, for every patient.
# Versions: pyhealth 2.1.0, torch 2.15.0, numpy 2.5.5.
# Output seen:
#   risk from 2 of 20 values; drop of the risk when nothing is left of the record: 0.381
#   cited      comprehensiveness at 5%, 10%, 20%, 50%    sufficiency
#   those two  0.381 0.381 0.381 0.381                   0.000 0.000 0.000 0.000
#   two others 0.000 0.000 0.381 0.381                   0.381 0.381 0.000 0.000
#   an age that does decide, cited by nobody: comprehensiveness at 5% 0.072
# Why it matters: averaged over the default percentages (1, 5, 10, 20, 50), every list of a few features gets a large
#   share of full marks, so that methods that name few features look faithful. Compare with lists of other features, as
#   long, and remove what is listed instead of a percentage.
# How well known: the comment says "we select at least the target %" and "all values tied at the boundary"; that these
#   may be all, neither comment nor documentation says. No issue about it was found.
# Source: pyhealth, metrics/interpretability/base.py, RemovalBasedMetric._compute_threshold_and_mask.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pyhealth==2.1.0 torch==2.15.0 torchvision==0.29.2 \
  polars==1.35.2 pandas==2.3.3 numpy==2.5.5 pyarrow==26.0.1 dask==2026.8.0 distributed==2026.8.0 litdata==0.2.67 \
  narwhals==2.29.0 mne==1.10.2 scikit-learn==1.9.1 scipy==1.18.1 transformers==5.23.0 rdkit==2026.9.1
export OMP_NUM_THREADS=1 HOME="$folder"
cd "$folder"
cat >show.py <<'PYTHON'
from importlib.metadata import version

import torch
from pyhealth.datasets import create_sample_dataset
from pyhealth.metrics.interpretability import ComprehensivenessMetric, SufficiencyMetric
from pyhealth.metrics.interpretability.utils import threshold_sample_filter
from pyhealth.models import BaseModel

LABS = 20
PERCENTAGES = [5, 10, 20, 50]


class Risk(BaseModel):
    """A risk that two of twenty values decide, and the age where there is one."""

    def forward(self, labs, age=None, **others):
        logit = labs[:, :2].sum(dim=1, keepdim=True)
        return {"logit": logit if age is None else logit + age}


def made(inputs):
    rows = [{"patient_id": str(i), "visit_id": str(i), "died": i % 2, **inputs} for i in range(4)]
    schema = dict.fromkeys(inputs, "tensor")
    return Risk(dataset=create_sample_dataset(rows, input_schema=schema, output_schema={"died": "binary"}))


def scores(kind, model, record, attributions):
    metric = kind(model, percentages=PERCENTAGES, sample_filter=threshold_sample_filter(0.5))
    found = metric.compute(record, attributions, return_per_percentage=True)
    return [round(float(found[percentage][0]), 3) for percentage in PERCENTAGES]


def listed(*cited):
    attribution = torch.zeros(1, LABS)
    attribution[:, list(cited)] = 1.0
    return attribution


model, labs = made({"labs": [1.0] * LABS}), torch.ones(1, LABS)
everything = round(float(torch.sigmoid(torch.tensor(2.0)) - 0.5), 3)
found = {
    name: [scores(kind, model, {"labs": labs}, {"labs": listed(*cited)})
           for kind in (ComprehensivenessMetric, SufficiencyMetric)]
    for name, cited in {"those two ": (0, 1), "two others": (18, 19)}.items()
}
aged = made({"labs": [1.0] * LABS, "age": [1.0]})
of_age = scores(ComprehensivenessMetric, aged, {"labs": labs, "age": torch.ones(1, 1)},
                {"labs": listed(18), "age": torch.zeros(1, 1)})
with open("seen", "w") as seen:
    print(", ".join(f"{name} {version(name)}" for name in ("pyhealth", "torch", "numpy")), file=seen)
    print(f"risk from 2 of 20 values; drop of the risk when nothing is left of the record: {everything}", file=seen)
    print(f"cited      comprehensiveness at {', '.join(f'{p}%' for p in PERCENTAGES)}    sufficiency", file=seen)
    for name, (comprehensiveness, sufficiency) in found.items():
        parts = [" ".join(f"{x:.3f}" for x in part) for part in (comprehensiveness, sufficiency)]
        print(f"{name} {(19 * ' ').join(parts)}", file=seen)
    print(f"an age that does decide, cited by nobody: comprehensiveness at 5% {of_age[0]:.3f}", file=seen)
    comprehensiveness, sufficiency = found["two others"]
    assert comprehensiveness[:2] == [0, 0] and sufficiency[:2] == [everything] * 2
    assert comprehensiveness[2:] == [everything] * 2, "a useless list no longer scores as if all were removed"
    assert sufficiency[2:] == [0, 0]
    # Not even cited, and the only value of its input: it is removed.
    assert of_age[0] > 0.05, "a single value stays now unless it is listed"
    print("CONFIRMED: what is not listed is removed with it", file=seen)
PYTHON
"$folder/venv/bin/python" show.py >log 2>&1 || { tail -n 30 log >&2; exit 1; }
cat seen

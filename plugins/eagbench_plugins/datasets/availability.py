"""The choice between results that were known before the prediction time and results that were drawn before it."""

from __future__ import annotations

from typing import Literal

# `known`: a laboratory result counts if it was known before the prediction time; `drawn`: if it was drawn before.
Availability = Literal["known", "drawn"]

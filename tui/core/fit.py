"""Whether a model fits: what it needs in memory, and what that means for a machine.

Pure functions, in parts: `shape` reads a model's metadata, `fit_need` has the formulas, `fit_place` puts the need on GPUs and
main memory, `fit_speed` says how fast that would be, `fit_learn` corrects it all by loads that were seen. Everything here is an
estimate and says so: `Need.basis` tells measured, fitted and formula apart.
"""

from __future__ import annotations

from tui.core.fit_learn import NOTHING, Lessons, Load, Subject, load_of, need_of, parameters_of, shape_of_cached, subject_of
from tui.core.fit_need import (
    CONTEXT_OVERHEAD,
    MARGIN,
    MICRO_BATCH,
    SERVED,
    Basis,
    Era,
    Need,
    Served,
    era_of,
    estimate,
    kv_cache,
    served_by,
)
from tui.core.fit_place import (
    FITTING,
    RAM_SHARE,
    UNIFIED_SHARE,
    Card,
    Fit,
    Machine,
    Placement,
    Verdict,
    freed,
    judge,
    largest_parameters,
    place,
)
from tui.core.fit_speed import Pace, Ran, bandwidth_of, expected_rate, pace_of
from tui.core.fit_table import FitRow, FitTable, Source, Variant, computed, contexts_of, largest_context, make_table, relative
from tui.core.shape import KV_BYTES, TYPE_BITS, Shape, shape_of

__all__ = [
    "CONTEXT_OVERHEAD",
    "FITTING",
    "KV_BYTES",
    "MARGIN",
    "MICRO_BATCH",
    "NOTHING",
    "RAM_SHARE",
    "SERVED",
    "TYPE_BITS",
    "UNIFIED_SHARE",
    "Basis",
    "Card",
    "Era",
    "Fit",
    "FitRow",
    "FitTable",
    "Lessons",
    "Load",
    "Machine",
    "Need",
    "Pace",
    "Placement",
    "Ran",
    "Served",
    "Shape",
    "Source",
    "Subject",
    "Variant",
    "Verdict",
    "bandwidth_of",
    "computed",
    "contexts_of",
    "era_of",
    "estimate",
    "expected_rate",
    "freed",
    "judge",
    "kv_cache",
    "largest_context",
    "largest_parameters",
    "load_of",
    "make_table",
    "need_of",
    "pace_of",
    "parameters_of",
    "place",
    "relative",
    "served_by",
    "shape_of",
    "shape_of_cached",
    "subject_of",
]  # fmt: skip

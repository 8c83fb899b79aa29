"""Which check measures which demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from modelota.conformance.checks import (
    clause_5_1,
    clause_5_2,
    clause_5_2_packages,
    clause_5_3,
    clause_6,
    clause_6_3,
    clause_7,
    clause_7_3,
    clause_7_4,
    of_user_data,
)
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

Check = Callable[[Stage], Examination]

CHECKS: Final[Mapping[str, Check]] = {
    "5.1-a": clause_5_1.harmless,
    "5.1-b": clause_5_1.compatible,
    "5.1-c": clause_5_1.told_first,
    "5.1-d": clause_5_1.never_silent,
    "5.2.1-a": clause_5_2_packages.incremental,
    "5.2.1-b": clause_5_2.resumable,
    "5.2.1-c": clause_5_2.verified,
    "5.2.2-a": clause_5_2.sealed,
    "5.2.2-b": clause_5_2.proven_before_use,
    "5.2.3-a": clause_5_2_packages.differential,
    "5.2.3-b": clause_5_2_packages.way_back,
    "5.3-a": clause_5_3.detected,
    "5.3-b": clause_5_3.answered,
    "5.3-c": clause_5_3.shows_progress,
    "5.3-d": clause_5_3.tested_in_the_engine,
    "5.3-e": clause_5_3.failure_goes_back,
    "6.1-a": clause_6.positive_numbers,
    "6.1-b": clause_6.steps_that_mean_something,
    "6.1-c": clause_6.one_content,
    "6.2-a": clause_6.traceable,
    "6.2-b": clause_6.kept,
    "6.3-a": clause_6_3.triggered,
    "6.3-b": clause_6_3.quick_way_back,
    "6.3-c": of_user_data.not_lost,
    "6.4-a": clause_6.keeps_its_promises,
    "6.4-b": clause_6.independent,
    "7.1.1-a": clause_7.fits_the_device,
    "7.1.1-b": clause_7.fits_the_system,
    "7.1.2-a": clause_7.light,
    "7.1.2-b": clause_7.tamper_proof,
    "7.1.2-c": clause_7.reported,
    "7.2-a": of_user_data.saved_first,
    "7.2-b": clause_7.tidy,
    "7.3.1": clause_7_3.confirmed,
    "7.3.2": clause_7_3.proven,
    "7.4.1": clause_7_4.nothing_else,
    "7.4.2-a": clause_7_4.thorough,
    "7.4.2-b": clause_7_4.undisturbing,
}

"""One measured check per requirement id (`docs/conformance.md`).

Checks drive the product from outside, as its users do, and judge with measuring tools of their own.
"""

from modelota.conformance.inspection import run
from modelota.conformance.requirements import REQUIREMENTS
from modelota.conformance.row import Row, Status

__all__ = ["REQUIREMENTS", "Row", "Status", "run"]

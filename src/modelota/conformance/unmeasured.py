"""Why some demands have no check: what the product does not have yet. A row leaves when its check is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.conformance.row import Text

_MONITOR = Text("有了运行监控才能测量", "comes with monitoring")
_INCIDENTS = Text("有了错误分级才能测量", "comes with the classification of errors")
_REPORTING = Text("有了错误上报才能测量", "comes with error reports")
_SERVICE = Text("有了运维服务才能测量", "comes with the operations service")
_DATA = Text("有了运行数据管理与云备份才能测量", "comes with the owner's data commands and cloud backup")

UNMEASURED: Final[Mapping[str, Text]] = {
    "8.1.1-a": _MONITOR,
    "8.1.1-b": _MONITOR,
    "8.1.1-c": _MONITOR,
    "8.1.1-d": _MONITOR,
    "8.1.2-a": _MONITOR,
    "8.1.2-b": _MONITOR,
    "8.2.1": _INCIDENTS,
    "8.2.2-a": _REPORTING,
    "8.2.2-b": _REPORTING,
    "8.2.3-a": _SERVICE,
    "8.2.3-b": _SERVICE,
    "8.3-a": _DATA,
    "8.3-b": _DATA,
}

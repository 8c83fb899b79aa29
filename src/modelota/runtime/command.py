"""The command runtime: any engine that serves HTTP on a Unix socket (`docs/adding-a-runtime.md`).

The command comes from the device's configuration. A manifest can only name which of the device's commands to use, so
a publisher can never make a device execute something.
"""

from __future__ import annotations

import sys
from typing import Final

from modelota.errors import AskPerson
from modelota.runtime.protocol import CHAT, STREAM, EngineSpec

CONTRACT_VERSION: Final = "1.0"  # of what the command is given and must serve

SOCKET_VARIABLE: Final = "MODELOTA_ENGINE_SOCKET"
MODEL_VARIABLE: Final = "MODELOTA_MODEL_FILE"
FOLDER_VARIABLE: Final = "MODELOTA_MODEL_FOLDER"
CONTEXT_VARIABLE: Final = "MODELOTA_CONTEXT_TOKENS"
USER_DATA_VARIABLE: Final = "MODELOTA_USER_DATA"
THREADS_VARIABLE: Final = "MODELOTA_THREADS"


class CommandRuntime:
    """Runs `profile_argv` of the specification."""

    name = "command"

    @property
    def capabilities(self) -> frozenset[str]:
        """Chat, streamed. No perplexity: the contract does not ask commands for log-probabilities."""
        return frozenset({CHAT, STREAM})

    def version(self) -> str:
        """Version of the contract with the command; the command's own version is not known."""
        return CONTRACT_VERSION

    def child_argv(self, spec: EngineSpec) -> list[str]:
        """Run `modelota.runtime.command_child`, which verifies the files and starts the command.

        Raises:
            AskPerson: `runtime-missing`: the device's configuration has no such command.
        """
        if not spec.profile_argv:
            raise AskPerson("runtime-missing", runtime=spec.runtime, need="a command in the device's configuration")
        return [sys.executable, "-P", "-m", "modelota.runtime.command_child"]

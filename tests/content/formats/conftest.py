"""The family's models as safetensors, made once per session by the repository's own converter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def family_safetensors(repository_root: Path, family: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.1.1 in bfloat16."""
    pytest.importorskip("gguf")
    out = tmp_path_factory.mktemp("safetensors")
    script = repository_root / "examples" / "family" / "to_safetensors.py"
    subprocess.run([sys.executable, script, family / "1.1.1" / "assistant-q8.gguf", out], check=True)
    return out / "model.safetensors"

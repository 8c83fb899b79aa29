from __future__ import annotations

from pathlib import Path

from clean import measure
from planting.tree import plant


def test_every_residue_goes_and_every_decoy_stays(tmp_path: Path) -> None:
    """In a small tree with every kind of both, the cleaning removes all residues and no decoy."""
    tree = plant(tmp_path, files=1_500, residues=72, decoys=700)
    result = measure(tree)
    assert result["residue_kinds"] >= 20
    assert result["decoy_kinds"] >= 17
    assert (result["removed_share"], result["left_by_kind"]) == (1.0, {})
    assert (result["decoys_deleted"], result["deleted_by_kind"]) == (0, {})

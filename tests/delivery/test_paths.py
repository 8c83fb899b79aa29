"""Tests of modelota.delivery.paths."""

from modelota.delivery import paths


def test_layout() -> None:
    """The layout is the one of docs/formats/metadata.md."""
    assert paths.metadata_path("timestamp", None) == "metadata/timestamp.json"
    assert paths.metadata_path("root", 2) == "metadata/2.root.json"
    assert paths.target_path("acme/assistant/catalog.json", "ab") == "targets/acme/assistant/ab.catalog.json"
    assert paths.target_path("top.json", None) == "targets/top.json"
    assert paths.pack_path("abcdef") == "packs/ab/abcdef"
    assert paths.releases_role("acme/assistant") == "acme/assistant-releases"
    assert paths.control_role("acme/assistant") == "acme/assistant-control"
    assert paths.releases_patterns("acme/assistant") == [
        "acme/assistant/catalog.json",
        "acme/assistant/*/manifest.json.zst",
    ]
    assert paths.control_patterns("acme/assistant") == ["acme/assistant/control.json"]

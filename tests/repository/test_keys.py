"""Tests of modelota.repository.keys."""

from pathlib import Path

import msgspec
import pytest

from modelota.errors import AskPerson
from modelota.repository.keys import KeyFile, KeyRing, make_key, public_key, read_key, unlock
from modelota.repository.passphrases import Passphrases

RIGHT = Passphrases(environ={"MODELOTA_PASSPHRASE": "correct horse"})
WRONG = Passphrases(environ={"MODELOTA_PASSPHRASE": "battery staple"})
NONE = Passphrases(environ={})


def _write(directory: Path, key: KeyFile) -> Path:
    path = directory / key.file_name
    path.write_text(key.text(), encoding="utf-8")
    return path


def test_a_key_file_survives_the_disk(tmp_path: Path) -> None:
    """What is written is read back, and opens with its passphrase only."""
    key = make_key("root-1", "root", passphrases=RIGHT)
    assert read_key(_write(tmp_path, key)) == key
    assert len(unlock(key, RIGHT)) == 32
    with pytest.raises(AskPerson) as caught:
        unlock(key, WRONG)
    assert caught.value.code == "key-unlock-failed"
    with pytest.raises(AskPerson) as caught:
        unlock(key, NONE)
    assert caught.value.code == "passphrase-missing"


def test_the_private_part_is_not_in_the_file() -> None:
    """A sealed key's text holds its private part in no encoding; a plain one says what it is."""
    key = make_key("root-1", "root", passphrases=RIGHT)
    private = unlock(key, RIGHT)
    assert private.hex() not in key.text()
    assert msgspec.json.encode(private).decode().strip('"') not in key.text()
    plain = make_key("root-1", "root", passphrases=None)
    assert "FOR TRYING OUT ONLY" in plain.text()
    assert plain.file_name == "root-1.dev-key.toml"


@pytest.mark.parametrize("field", ["name", "role", "public"])
def test_a_private_part_belongs_to_its_file(field: str) -> None:
    """A sealed part does not open under another name, role or public part."""
    key = make_key("root-1", "root", passphrases=RIGHT)
    other = {"name": "root-2", "role": "targets", "public": bytes(32)}
    with pytest.raises(AskPerson) as caught:
        unlock(msgspec.structs.replace(key, **{field: other[field]}), RIGHT)
    assert caught.value.code == "key-unlock-failed"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("cost = 2", "cost = 1048577"),
        lambda text: text.replace("format = 1", "format = 2"),
        lambda text: text + 'plain = "AAAA"\n',
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("root-1", "../root-1"),
        lambda _text: "x" * 70_000,
        lambda _text: "",
    ],
)
def test_damaged_key_files(tmp_path: Path, change: object) -> None:
    """A key file that is not one is refused with its path, whatever it demands of memory or time."""
    path = tmp_path / "root-1.key.toml"
    path.write_text(change(make_key("root-1", "root", passphrases=RIGHT).text()))  # type: ignore[operator]
    with pytest.raises(AskPerson) as caught:
        read_key(path)
    assert caught.value.code == "not-a-repository"
    assert caught.value.params["path"] == str(path)


def test_signers_up_to_the_threshold(tmp_path: Path) -> None:
    """Two of three sign: a key whose passphrase nobody knows is passed over, an absent one counts as missing."""
    made = [make_key(f"root-{number}", "root", passphrases=RIGHT) for number in (1, 2, 3)]
    for key in made:
        _write(tmp_path, key)
    keyids = [public_key(key).keyid for key in made]
    some = {"MODELOTA_PASSPHRASE_ROOT_2": "correct horse", "MODELOTA_PASSPHRASE_ROOT_3": "correct horse"}
    ring = KeyRing([tmp_path], Passphrases(environ=some))
    assert [signer.public_key.keyid for signer in ring.signers("root", keyids, 2)] == keyids[1:]
    with pytest.raises(AskPerson) as caught:
        ring.signers("root", keyids, 3)
    assert caught.value.code == "passphrase-missing"
    (tmp_path / made[1].file_name).unlink()
    (tmp_path / made[0].file_name).unlink()
    with pytest.raises(AskPerson) as caught:
        KeyRing([tmp_path], RIGHT).signers("root", keyids, 2)
    assert caught.value.code == "key-missing"
    assert caught.value.params == {"role": "root", "have": 1, "need": 2}


def test_a_wrong_passphrase_is_never_passed_over(tmp_path: Path) -> None:
    """A typing mistake ends the attempt, although another key would do."""
    made = [make_key(f"root-{number}", "root", passphrases=RIGHT) for number in (1, 2)]
    for key in made:
        _write(tmp_path, key)
    environ = {"MODELOTA_PASSPHRASE": "correct horse", "MODELOTA_PASSPHRASE_ROOT_1": "mistyped!"}
    with pytest.raises(AskPerson) as caught:
        KeyRing([tmp_path], Passphrases(environ=environ)).signers("root", [public_key(key).keyid for key in made], 1)
    assert caught.value.params == {"key": "root-1"}

"""The enrolment file: what a device is given once, by a file, never in-band (`docs/formats/enrolment.md`).

Strict TOML. It holds no identity of the device: a class is a kind of device, and its key is shared by all of that kind.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modelota.errors import AskPerson
from modelota.spec import names
from modelota.spec.limits import ENROLMENT_MAX_BYTES
from modelota.spec.manifest import Name


class ClassKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A private key of the device class.

    Attributes:
        epoch: which key of the class it is.
        kem: `x25519` or `mlkem768-x25519`.
        private: PKCS#8-like raw private bytes as `modelota.content.wrap` writes them, base64.
    """

    epoch: Annotated[int, Meta(ge=1)]
    kem: Literal["x25519", "mlkem768-x25519"]
    private: bytes


class Enrolment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `modelota device init` reads.

    Attributes:
        format: 1.
        url: of the repository: `https://…`, `file:///…`, or `http://` to loopback.
        models: which models this device may install.
        device_class: name of the class.
        device_model: the kind of device as `device_models` of a manifest names it; empty matches every release that
            lists none.
        keys: private keys of the class, newest epoch last.
        root: the trusted TUF root metadata, JSON text.
    """

    format: Literal[1]
    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    models: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    device_class: Name
    device_model: Annotated[str, Meta(max_length=128)] = ""
    keys: Annotated[tuple[ClassKey, ...], Meta(min_length=1, max_length=64)]
    root: Annotated[str, Meta(min_length=2, max_length=512_000)]


def parse_enrolment(data: bytes, path: str) -> Enrolment:
    """Parse an enrolment file.

    Raises:
        AskPerson: `enrolment-invalid` with what is wrong.
    """
    if len(data) > ENROLMENT_MAX_BYTES:
        raise AskPerson("enrolment-invalid", path=path, detail=f"larger than {ENROLMENT_MAX_BYTES} bytes")
    try:
        enrolment = msgspec.convert(tomllib.loads(data.decode()), Enrolment)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise AskPerson("enrolment-invalid", path=path, detail=str(error)[:300]) from error
    for model in enrolment.models:
        if not names.is_model(model):
            raise AskPerson("enrolment-invalid", path=path, detail=f"not a model name: {model[:80]!r}")
    return enrolment

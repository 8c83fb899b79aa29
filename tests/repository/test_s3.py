"""Publishing to an S3 bucket: moto's server on this machine stands for the object store."""

import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.repository.test_packages import save, tuned, variant, weights

from modelota.errors import TryLater
from modelota.repository.audit import audit
from modelota.repository.commit import Change, Signing, commit
from modelota.repository.keys import KeyRing
from modelota.repository.published import load_published
from modelota.repository.workspace import Workspace

moto_server = pytest.importorskip("moto.server", reason="moto is a development dependency: pip install 'moto[server]'")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """URL of a running S3 server."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket, with credentials in the environment."""
    import urllib.request

    name = f"models-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=30).close()
    for key, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    return f"s3://{name}"


def test_a_bucket_is_a_repository(press: Any, bucket: str) -> None:
    """Two releases are published to S3, a device reads them, the audit lists and checks every object."""
    shop: Workspace = press.init(repository=bucket).workspace
    press.publish(shop, "1.1.1")
    press.publish(shop, "1.1.2")
    device = press.device(shop)
    assert device.versions() == ["1.1.1", "1.1.2"]
    report = audit(shop, clock=press.clock)
    assert (report.ok, report.listed, report.releases, report.unknown) == (True, True, 2, [])
    assert report.objects == 2 + 2 + 3 + 1  # packs, manifests, catalogs, control


def test_a_comparison_takes_few_requests(press: Any, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    """A baseline of hundreds of chunks is read from S3 in a few ranges, counted where they arrive."""
    shop: Workspace = press.init(repository=bucket).workspace
    old = weights(1, 200)
    reports = []
    for version, tensors in (("1.1.1", old), ("1.1.2", tuned(old))):
        save(press.directory / "model.safetensors", tensors)
        source = press.describe(version, variants=[variant("q8", "model.safetensors")])
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="werkzeug"):
            reports.append(press.publish(shop, source))
    manifest = press.device(shop).manifest("1.1.2").manifest
    package = manifest.variants[0].package("differential")
    assert package is not None
    assert len(package.bases) >= 200
    read = [record.getMessage() for record in caplog.records if "GET " in record.getMessage()]
    assert 1 <= len([line for line in read if "/packs/" in line]) <= 5, read


def test_the_commit_is_create_only_on_s3(press: Any, bucket: str) -> None:
    """Two changes on top of the same state: the second is told of the conflict."""
    shop: Workspace = press.init(repository=bucket).workspace
    ring = KeyRing(shop.key_directories, press.passphrases)
    signing = Signing(ring, shop.config.expiry_days, press.clock)
    first, second = (load_published(shop.store(), shop.trusted_root()) for _ in range(2))
    assert commit(first, Change(), signing) == 2
    press.clock.advance(seconds=1)
    with pytest.raises(TryLater) as caught:
        commit(second, Change(), signing)
    assert caught.value.code == "publish-conflict"
    assert press.device(shop).versions() == []

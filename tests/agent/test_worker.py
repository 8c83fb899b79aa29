"""What a worker process does to itself before it takes jobs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Each thread allocates large blocks between small ones that stay: what a heap cannot give back once they are freed.
HOLD_AND_FREE = """
import sys, threading
from modelota.agent import worker
if sys.argv[1] == "yes":
    worker.share_one_heap()
def anonymous_bytes():
    with open("/proc/self/smaps_rollup") as rollup:
        return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss_Anon"))
bytearray(4 << 20)  # from the first one that is freed, glibc takes blocks of this size from a heap
before, kept, end = anonymous_bytes(), [], threading.Event()
def work(done):
    blocks = [(bytearray(3 << 20), bytearray(1 << 12)) for _ in range(8)]
    kept.append([small for _, small in blocks])
    del blocks
    done.set()
    end.wait()
for _ in range(4):
    done = threading.Event()
    threading.Thread(target=work, args=(done,)).start()
    done.wait()
print(anonymous_bytes() - before)
end.set()
"""


@pytest.mark.skipif(
    "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")), reason="other C libraries have no such heaps"
)
def test_threads_reuse_what_others_have_freed() -> None:
    """Four threads keep what one would; without the call, four times as much."""
    left = {}
    for given in ("yes", "no"):
        done = subprocess.run(
            [sys.executable, "-c", HOLD_AND_FREE, given], capture_output=True, text=True, check=True, timeout=60
        )
        left[given] = int(done.stdout)
    assert left["yes"] < 40 << 20
    assert left["no"] > 80 << 20

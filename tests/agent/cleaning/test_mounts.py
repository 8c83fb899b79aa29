from __future__ import annotations

from pathlib import Path

from modelota.agent.cleaning.mounts import read_mounts

TABLE = rb"""21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
22 21 0:5 / /proc rw - proc proc rw
23 21 0:6 / /dev rw - devtmpfs udev rw
24 21 8:2 / /home rw - btrfs /dev/sda2 rw
25 21 8:2 /user /mnt/again rw - btrfs /dev/sda2 rw
26 21 8:1 /srv /srv/bind rw - ext4 /dev/sda1 rw
27 21 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro
28 21 8:3 / /boot ro - ext4 /dev/sda3 rw
29 21 0:30 / /mnt/nas rw - nfs4 nas:/x rw
30 21 0:31 / /mnt/a\040b\134\012c rw - tmpfs tmpfs rw
31 21 0:32 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
32 21 0:33 / /mnt/odd rw - fuse.odd odd rw
33 21 0:34 / /home/user/remote rw - fuse.sshfs h:/ rw
34 21 8:4 /part /data rw - ext4 /dev/sdb1 rw
broken line
"""


def test_local_file_systems_are_walked_once(tmp_path: Path) -> None:
    """Bind mounts, overlays, images, networks and unknown kinds are left out; what holds files is told of."""
    table = tmp_path / "mountinfo"
    table.write_bytes(TABLE)
    mounts = read_mounts(table)
    assert mounts.starts == ("/", "/data", "/home", "/mnt/a b\\\nc")
    assert {"/mnt/again", "/proc", "/mnt/nas"} <= mounts.points
    assert {(each.path, each.reason) for each in mounts.left_out} == {
        ("/boot", "read-only"),
        ("/mnt/nas", "network"),
        ("/mnt/odd", "unknown-type"),
        ("/home/user/remote", "network"),
    }


def test_this_system_has_something_to_walk() -> None:
    """The kernel's own table is read."""
    assert read_mounts().starts

"""What is mounted where: read from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from nano_codex_env.mounts import Mount, mount_of, read_mounts

TEXT = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:40 / /mnt/my\040data ro,noexec master:2 propagate_from:1 - nfs4 server:/a\011b rw,vers=4.2,local_lock=none
24 22 0:41 / /mnt/my\040data rw - tmpfs none rw,size=4k
25 22 0:42 / /mnt/my rw - lustre 10.0.0.1@tcp:/x rw,localflock
26 22 0:43 / /empty rw - autofs  rw
"""


def test_a_path_lies_on_the_last_mount_of_the_longest_folder(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(TEXT)
    mounts = read_mounts(tmp_path)
    options = frozenset({"ro", "noexec", "rw", "vers=4.2", "local_lock=none"})
    assert mounts[1] == Mount("/mnt/my data", "nfs4", "server:/a\tb", options)
    assert str(mounts[1]) == "nfs4 at /mnt/my data"
    assert mounts[4] == Mount("/empty", "autofs", "", frozenset({"rw"}))
    for path, kind in (
        ("/mnt/my data/not/made/yet", "tmpfs"),
        ("/mnt/my/x", "lustre"),
        ("/mnt/mydata", "ext4"),
        ("/", "ext4"),
    ):
        assert mount_of(Path(path), tmp_path).kind == kind


def test_a_path_below_no_mount_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("")
    assert mount_of(Path("/x"), tmp_path).kind == "unknown"

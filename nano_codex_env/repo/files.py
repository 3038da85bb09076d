"""Read and write one file below a folder without following symbolic links.

Each folder of the path is opened relative to its parent (`openat` with O_NOFOLLOW), so nothing outside the root can be
reached, whatever the path is and whoever replaces a folder meanwhile. A write goes to a temporary file that is renamed
over the target, so that the target is never incomplete.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from nano_codex_env.atomic import write_all
from nano_codex_env.diff import File
from nano_codex_env.errors import ToolError
from nano_codex_env.sandbox.base import TESTBED

MAX_FILE = 4 << 20
"""Bytes of the largest file that can be patched."""

MAX_NAME = 1024
"""Bytes of the longest path."""

MAX_DEPTH = 64
"""Components of the longest path; `shutil.rmtree` needs a descriptor for each."""

_ODD = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are refused: control, format (zero width, bidi), surrogates, line separators."""

Parts = tuple[str, ...]


@lru_cache(maxsize=256)
def parts_of(file: str) -> Parts:
    """The components of a file name from a policy; it is relative to the repository or starts with /testbed/.

    Raises:
        ToolError: it leads outside or into `.git`, is too long, or holds characters that are refused.
    """
    inside = file.removeprefix(TESTBED + "/")
    if inside.startswith("/"):
        raise ToolError(f"{_shown(file)} is outside the repository; give a path relative to its root")
    parts = tuple(part for part in inside.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ToolError(f"{_shown(file)} is outside the repository or leads through `..`; give a path without `..`")
    if not parts or inside.endswith("/"):
        raise ToolError(f"{_shown(file)} names a folder; give a file's path")
    odd = sorted({f"U+{ord(char):04X}" for char in file if unicodedata.category(char) in _ODD})
    if odd:
        raise ToolError(f"{_shown(file)} holds control or invisible characters ({', '.join(odd)}); leave them out")
    if any(len(part.encode()) > 255 for part in parts) or len(inside.encode()) > MAX_NAME:
        raise ToolError(f"the file name is too long ({len(inside)} characters; {MAX_NAME} bytes, 255 a component)")
    if len(parts) > MAX_DEPTH:
        raise ToolError(f"{_shown(file)} is too deep ({len(parts)} components; the limit is {MAX_DEPTH})")
    if any(_is_git(part) for part in parts):
        raise ToolError(f"{_shown(file)} lies in git's own folder, which cannot be patched")
    if any(part != part.strip() for part in parts):
        raise ToolError(f"a component of {_shown(file)} begins or ends with a blank; leave it out")
    return parts


def _shown(file: str) -> str:
    text = ascii(file)[1:-1] if not file.isprintable() else file
    return text if len(text) <= 120 else text[:120] + "..."


def _is_git(part: str) -> bool:
    """Whether a file system could take the name for `.git` (CVE-2014-9390).

    A case-folding folder (ext4, f2fs) drops Unicode's default ignorable code points: those that `_ODD` does not refuse
    are nonspacing marks and the fillers of Hangul.
    """
    folded = unicodedata.normalize("NFKC", part).casefold()
    seen = "".join(char for char in folded if unicodedata.category(char) != "Mn" and char not in "\u115f\u1160")
    pieces = seen.replace("\\", "/").split("/")
    plain = [piece.partition(":")[0].rstrip(". ") for piece in pieces]
    return any(piece == ".git" or piece.startswith("git~") for piece in plain)


def read(root: Path, parts: Parts) -> File | None:
    """The file below `root`; None where there is none.

    Raises:
        ToolError: a component is a symbolic link or not a folder, or the file is not a regular one, or is too large.
    """
    with _parent(root, parts) as folder:
        if folder is None:
            return None
        try:
            handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refusal(folder, parts, error) from error
    try:
        status, name = os.fstat(handle), "/".join(parts)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ToolError(f"{name} is {kind}; only regular files can be patched")
        if status.st_size > MAX_FILE:
            raise ToolError(f"{name} is too large to patch ({status.st_size} bytes; the limit is {MAX_FILE})")
        with open(handle, "rb", closefd=False) as stream:
            return File(stream.read(), bool(status.st_mode & 0o100))
    finally:
        os.close(handle)


def write(root: Path, parts: Parts, file: File, finish: Callable[[int], None] = lambda handle: None) -> None:
    """Write `file` below `root`, and create the folders that it needs.

    `finish` is called with a descriptor of the file and of each changed folder, to set modes and times.

    Raises:
        ToolError: a component is a symbolic link or not a folder; no file was changed.
    """
    with _parent(root, parts, make=True, finish=finish) as folder:
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, "a folder was removed while it was made", "/".join(parts))
        temporary = f".{os.urandom(8).hex()}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                write_all(handle, file.data)
                os.fchmod(handle, 0o755 if file.executable else 0o644)
                finish(handle)
            finally:
                os.close(handle)
            os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
        finish(folder)


def remove(root: Path, parts: Parts) -> None:
    """Remove the file below `root`, if it exists.

    Raises:
        ToolError: a component is a symbolic link or not a folder.
    """
    with _parent(root, parts) as folder, contextlib.suppress(FileNotFoundError):
        if folder is not None:
            os.unlink(parts[-1], dir_fd=folder)


def check_folder(root: Path, parts: Parts) -> None:
    """Check that a path below `root` is a folder or does not exist.

    Raises:
        ToolError: it is a file or a symbolic link.
    """
    with _parent(root, (*parts, "")):
        pass


@contextlib.contextmanager
def _parent(
    root: Path, parts: Parts, *, make: bool = False, finish: Callable[[int], None] = lambda handle: None
) -> Iterator[int | None]:
    """A descriptor of the folder that holds `parts`; None where it does not exist and `make` is false."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(root, flags)
    try:
        for depth, part in enumerate(parts[:-1], 1):
            made = False
            try:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=handle)
                        made = True
                below = os.open(part, flags, dir_fd=handle)
            except FileNotFoundError:
                yield None
                return
            except OSError as error:
                raise _refusal(handle, parts[:depth], error) from error
            try:
                if made:
                    os.fchmod(below, 0o755)
                    finish(handle)
            finally:
                os.close(handle)
                handle = below
        yield handle
    finally:
        os.close(handle)


def _refusal(folder: int, parts: Parts, error: OSError) -> Exception:
    """The error for `parts`, the last of which is in `folder`; a `ToolError` where a link or a file is in the way."""
    name = "/".join(parts)
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        try:
            target = os.readlink(parts[-1], dir_fd=folder)
        except OSError:
            return ToolError(f"{name} is a file, not a folder")
        return ToolError(
            f"{name} is a symbolic link to {_shown(target)}; links are not followed, patch what it points to"
        )
    if error.errno in (errno.ENXIO, errno.EISDIR):
        return ToolError(f"{name} is no regular file; only regular files can be patched")
    return error

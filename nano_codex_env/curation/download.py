"""Download a release's source distribution without building it.

Run as `python -P download.py PACKAGE VERSION FOLDER`. `pip download` would run the package's own setup to learn its
requirements. So pip's finder is asked for the file (it knows the user's index, proxy and certificates), and pip's
session fetches it. Neither is a public interface; an unknown version of pip is an error.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any


def main(package: str, version: str, folder: Path) -> None:
    """Download the file to `folder`; on an error, print one line and exit with status 1."""
    try:
        from pip._internal.commands.download import DownloadCommand
        from pip._internal.exceptions import PipError
        from pip._vendor.packaging.specifiers import SpecifierSet
        from pip._vendor.requests.exceptions import RequestException
    except ImportError as error:
        sys.exit(f"this pip is not known: {error}; another version of pip may do")
    command = DownloadCommand("download", "download a source distribution")
    with command.main_context():
        options, _ = command.parse_args(["--no-binary", ":all:", package])
        try:
            session = command.get_default_session(options)
            finder = command._build_package_finder(options, session, ignore_requires_python=True)
            best: Any = finder.find_best_candidate(package, SpecifierSet(f"=={version}")).best_candidate
            if best is None:
                sys.exit("no index has a source distribution of it")
            response = session.get(best.link.url_without_fragment, headers={"Accept-Encoding": "identity"})
            response.raise_for_status()
        except (PipError, RequestException, OSError) as error:
            sys.exit(f"{type(error).__name__}: {error}")
    data: bytes = response.content
    if best.link.hash and hashlib.new(best.link.hash_name, data).hexdigest() != best.link.hash:
        sys.exit(f"{best.link.filename} is not the file that the index names: its hash is another one")
    (folder / Path(best.link.filename).name).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

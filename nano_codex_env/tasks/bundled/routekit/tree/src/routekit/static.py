"""Static files: answer from one folder, and never from outside of it."""

import hashlib
from pathlib import Path
from urllib.parse import unquote

from routekit.errors import NotFound
from routekit.headers import split_list
from routekit.messages import Request, Response
from routekit.negotiation import best_encoding

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
"""A table of our own: the one of `mimetypes` is different on each system."""


class StaticFiles:
    """The files below a folder."""

    def __init__(self, root: Path | str, *, max_age: int = 3600, index: str = "index.html") -> None:
        self.root = Path(root).resolve()
        self.max_age = max_age
        self.index = index

    def serve(self, request: Request, path: str) -> Response:
        """Answer a request for an escaped *path* below the folder; raises NotFound."""
        file = self._find(path)
        body, encoding = self._read(file, request.headers.get("Accept-Encoding"))
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        response = Response(200, body)
        response.headers["ETag"] = tag
        response.headers["Cache-Control"] = f"public, max-age={self.max_age}"
        response.headers["Vary"] = "Accept-Encoding"
        if _knows(request.headers.get("If-None-Match", ""), tag):
            response.status, response.body = 304, b""
            return response
        kind = CONTENT_TYPES.get(file.suffix.lower(), "application/octet-stream")
        response.headers["Content-Type"] = kind
        if encoding != "identity":
            response.headers["Content-Encoding"] = encoding
        if request.method == "HEAD":
            response.headers["Content-Length"] = str(len(body))
            response.body = b""
        return response

    def _find(self, path: str) -> Path:
        segments = [segment for segment in unquote(path).split("/") if segment]
        if any(segment.startswith(".") or "\0" in segment for segment in segments):
            raise NotFound(f"nothing at {path}")
        file = self.root.joinpath(*segments)
        if file.is_dir():
            file = file / self.index
        if not file.is_file() or not file.resolve().is_relative_to(self.root):
            raise NotFound(f"nothing at {path}")
        return file

    def _read(self, file: Path, accepted: str | None) -> tuple[bytes, str]:
        packed = file.with_name(file.name + ".gz")
        if accepted is not None and packed.is_file():
            encoding = best_encoding(accepted, ["gzip", "identity"])
            if encoding == "gzip":
                return packed.read_bytes(), "gzip"
        return file.read_bytes(), "identity"


def _knows(header: str, tag: str) -> bool:
    known = [element.removeprefix("W/") for element in split_list(header)]
    return "*" in known or tag in known

import pytest

from routekit import Headers, NotFound, Request, StaticFiles


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "www"
    (root / "docs").mkdir(parents=True)
    (root / "app.js").write_bytes(b"start()")
    (root / "app.js.gz").write_bytes(b"packed")
    (root / "a b.txt").write_bytes(b"spaced")
    (root / "docs" / "index.html").write_bytes(b"<h1>Docs</h1>")
    (root / ".key").write_bytes(b"private")
    (tmp_path / "outside.txt").write_bytes(b"private")
    return StaticFiles(root, max_age=60)


def get(**headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/", Headers(fields))


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("app.js", b"start()", "text/javascript; charset=utf-8"),
        ("/a%20b.txt", b"spaced", "text/plain; charset=utf-8"),
        ("docs/", b"<h1>Docs</h1>", "text/html; charset=utf-8"),
        ("app.js.gz", b"packed", "application/octet-stream"),
    ],
    ids=["script", "escaped", "index", "unknown_kind"],
)
def test_serve(files, path, body, kind):
    response = files.serve(get(), path)
    assert (response.status, response.body) == (200, body)
    assert response.headers["Content-Type"] == kind
    assert response.headers["Cache-Control"] == "public, max-age=60"


@pytest.mark.parametrize(
    "path",
    ["none.js", "", "../outside.txt", "%2e%2e/outside.txt", ".key", "app.js%00"],
    ids=["absent", "no_index", "above", "above_escaped", "dot_file", "null"],
)
def test_not_found(files, path):
    with pytest.raises(NotFound):
        files.serve(get(), path)


def test_links_out_of_the_folder_are_not_followed(files, tmp_path):
    (files.root / "link.txt").symlink_to(tmp_path / "outside.txt")
    with pytest.raises(NotFound):
        files.serve(get(), "link.txt")


def test_entity_tags(files):
    tag = files.serve(get(), "app.js").headers["ETag"]
    again = files.serve(get(If_None_Match=f'"other", W/{tag}'), "app.js")
    assert (again.status, again.body) == (304, b"")
    assert files.serve(get(If_None_Match='"other"'), "app.js").status == 200
    assert files.serve(get(If_None_Match="*"), "app.js").status == 304


def test_gzip_when_the_client_takes_it(files):
    packed = files.serve(get(Accept_Encoding="gzip, deflate"), "app.js")
    assert packed.body == b"packed"
    assert packed.headers["Content-Encoding"] == "gzip"
    plain = files.serve(get(Accept_Encoding="br"), "app.js")
    assert (plain.body, "Content-Encoding" in plain.headers) == (b"start()", False)


def test_head_has_the_length_and_no_body(files):
    response = files.serve(Request("HEAD", "/"), "app.js")
    assert response.to_bytes().endswith(b"Content-Length: 7\r\n\r\n")

from pocket.paths import basename, extension, join


def test_basename():
    assert basename("docs/guide/intro.md") == "intro.md"
    assert basename("intro.md") == "intro.md"
    assert basename("docs/") == ""


def test_extension():
    assert extension("docs/intro.md") == "md"
    assert extension("backup.tar.gz") == "gz"
    assert extension("v1.2/README") == ""
    assert extension("home/.profile") == ""


def test_join():
    assert join("docs", "guide", "intro.md") == "docs/guide/intro.md"
    assert join("/docs/", "/guide") == "/docs/guide"
    assert join("", "docs", "", "guide") == "docs/guide"
    assert join() == ""

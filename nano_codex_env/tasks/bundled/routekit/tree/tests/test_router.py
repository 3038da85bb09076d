import pytest

from routekit import BuildError, Kind, MethodNotAllowed, NotFound, Pattern, PatternError, Router


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        ("/", "/", {}),
        ("/about", "/about", {}),
        ("/about", "/about/", None),
        ("/users/<name>", "/users/ada", {"name": "ada"}),
        ("/users/<name>", "/users/", None),
        ("/users/<name>", "/users/a/b", None),
        ("/users/<name>", "/users/a%2Fb%20c", {"name": "a/b c"}),
        ("/sensors/<id:int>", "/sensors/007", {"id": 7}),
        ("/sensors/<id:int>", "/sensors/-1", None),
        ("/posts/<post:slug>", "/posts/hello-world", {"post": "hello-world"}),
        ("/posts/<post:slug>", "/posts/-hello", None),
        ("/files/<rest:path>", "/files/a/b%20c.txt", {"rest": "a/b c.txt"}),
        ("/v<major:int>.<minor:int>", "/v1.20", {"major": 1, "minor": 20}),
        ("/a.b", "/axb", None),
    ],
    ids=[
        "root",
        "fixed",
        "slash_counts",
        "str",
        "str_not_empty",
        "str_one_segment",
        "str_decoded",
        "int",
        "int_digits_only",
        "slug",
        "slug_dash",
        "path",
        "two_in_a_segment",
        "dot_is_a_dot",
    ],
)
def test_pattern_match(pattern, path, params):
    assert Pattern(pattern).match(path) == params


@pytest.mark.parametrize(
    "text",
    ["users", "/<id:float>", "/<a>/<a>", "/<1a>", "/a>b"],
    ids=["no_slash", "unknown_kind", "twice", "bad_name", "stray"],
)
def test_malformed_patterns(text):
    with pytest.raises(PatternError):
        Pattern(text)


def test_build_escapes():
    assert Pattern("/u/<name>").build({"name": "a/b c+d"}) == "/u/a%2Fb%20c%2Bd"
    assert Pattern("/f/<rest:path>").build({"rest": "a/b c"}) == "/f/a/b%20c"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "no value for id"),
        ({"id": 1, "page": 2}, "no parameter page"),
        ({"id": "x"}, "does not fit id"),
        ({"id": -1}, "does not fit id"),
    ],
    ids=["missing", "unknown", "wrong_kind", "negative"],
)
def test_build_checks(params, message):
    with pytest.raises(BuildError, match=message):
        Pattern("/sensors/<id:int>").build(params)


@pytest.fixture
def router():
    router = Router()
    router.add("/<anything:path>", "fallback")
    router.add("/users/<name>", "user", name="user")
    router.add("/users/<id:int>", "user by number", methods=["GET", "PUT"])
    router.add("/users/me", "me")
    router.add("/users", "create", methods=["post"])
    return router


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/users/me", "me"),
        ("/users/12", "user by number"),
        ("/users/12a", "user"),
        ("/users/12/x", "fallback"),
    ],
    ids=["fixed", "narrow", "wide", "rest"],
)
def test_the_most_particular_route_wins(router, path, endpoint):
    assert router.match("GET", path).endpoint == endpoint


def test_match_carries_params_and_name(router):
    found = router.match("get", "/users/ada")
    assert (found.params, found.name) == ({"name": "ada"}, "user")


def test_head_finds_get(router):
    assert router.match("HEAD", "/users/me").endpoint == "me"


def test_methods():
    router = Router()
    router.add("/x", "read")
    router.add("/x", "write", methods=["PUT"])
    assert router.match("PUT", "/x").endpoint == "write"
    with pytest.raises(MethodNotAllowed) as caught:
        router.match("DELETE", "/x")
    assert caught.value.allowed == ("GET", "HEAD", "PUT")
    with pytest.raises(NotFound):
        router.match("GET", "/y")


def test_url_for(router):
    assert router.url_for("user", name="ada") == "/users/ada"
    assert router.url_for("user", name="ada", query={"tab": "log in"}) == "/users/ada?tab=log+in"
    with pytest.raises(BuildError, match="nobody"):
        router.url_for("nobody")


def test_the_decorator_takes_the_functions_name():
    router = Router()

    @router.route("/status")
    def status():
        return "fine"

    assert router.match("GET", "/status").endpoint is status
    assert router.url_for("status") == "/status"


def test_names_are_unique(router):
    with pytest.raises(PatternError, match="two routes"):
        router.add("/people/<name>", "person", name="user")


def test_include(router):
    api = Router(kinds={"hex": Kind("[0-9a-f]+", lambda text: int(text, 16), "{:x}".format, 1)})
    api.add("/regs/<reg:hex>", "register", name="register")
    router.include("/api/", api, namespace="api")
    assert router.match("GET", "/api/regs/ff").params == {"reg": 255}
    assert router.url_for("api.register", reg=16) == "/api/regs/10"

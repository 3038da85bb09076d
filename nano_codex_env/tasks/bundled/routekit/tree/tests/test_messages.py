import unittest

from routekit import Headers, Request, Response


class RequestTest(unittest.TestCase):
    def test_target_has_two_parts(self):
        request = Request("GET", "/a%20b?x=1&y=2")
        self.assertEqual(request.path, "/a%20b")
        self.assertEqual(request.query.pairs(), [("x", "1"), ("y", "2")])
        self.assertEqual(Request("GET", "/a").query.pairs(), [])

    def test_cookies(self):
        request = Request("GET", "/", Headers({"Cookie": "a=1; b=2"}))
        self.assertEqual(request.cookies, {"a": "1", "b": "2"})
        self.assertEqual(Request("GET", "/").cookies, {})

    def test_form(self):
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        form = Request("POST", "/", Headers(kind), b"ssid=My+Net&key=").form
        self.assertEqual(form.pairs(), [("ssid", "My Net"), ("key", "")])
        self.assertEqual(Request("POST", "/", body=b"ssid=x").form.pairs(), [])


class ResponseTest(unittest.TestCase):
    def test_text(self):
        response = Response.text("\u00b0C", kind="text/html")
        self.assertEqual(response.body, b"\xc2\xb0C")
        self.assertEqual(response.headers["Content-Type"], "text/html; charset=utf-8")

    def test_json(self):
        self.assertEqual(Response.json({"t": 21.5}).body, b'{"t": 21.5}')

    def test_redirect(self):
        response = Response.redirect("/login")
        self.assertEqual((response.status, response.headers["location"]), (303, "/login"))

    def test_to_bytes(self):
        self.assertEqual(
            Response(200, b"hi", Headers({"X-A": "1"})).to_bytes(),
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi",
        )
        self.assertEqual(Response(204).to_bytes(), b"HTTP/1.1 204 No Content\r\n\r\n")

    def test_copy_is_apart(self):
        response = Response.text("a")
        copy = response.copy()
        self.assertEqual(copy, response)
        copy.headers["X-A"] = "1"
        self.assertNotIn("X-A", response.headers)

    def test_unknown_status_has_no_reason(self):
        self.assertEqual(Response(299).reason, "")

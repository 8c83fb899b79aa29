"""What another web page, another host name, or a hostile request can do to the page: nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from litestar import post
from tests.agent.page.conftest import PORT, SECRET, Browser, Home

from modelota.agent.page import app
from modelota.agent.page.activity import Activity
from modelota.agent.page.forms import BODY_MAX_BYTES, FIELDS_MAX
from modelota.agent.page.guard import SECURITY_HEADERS, TARGET_MAX_CHARS, Guard, check_origin
from modelota.errors import AskPerson
from modelota.testing.clock import ManualClock

OWN = f"http://127.0.0.1:{PORT}"
HOST = {"host": f"127.0.0.1:{PORT}"}


def detail(method: str, target: str, **headers: str) -> str:
    """Why a request is refused; an empty text when it is not."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        check_origin(method, target, {**HOST, **named}, PORT)
    except AskPerson as error:
        assert error.code == "page-request-refused"
        return str(error.params["detail"])
    return ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        f"evil.example:{PORT}",
        f"127.0.0.1.evil.example:{PORT}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:80",
        f"127.0.0.2:{PORT}",
        f"[::1]:{PORT}",
        f"127.0.0.1:{PORT}, evil.example",
        f"LOCALHOST:{PORT}.",
        f"user@127.0.0.1:{PORT}",
    ],
)
async def test_a_name_that_was_made_to_lead_here_gets_nothing(home: Home, host: str) -> None:
    """DNS rebinding: the page answers for its own two names and port alone, whoever is signed in, and for files too."""
    browser = await home.signed_in()
    for path in ("/about", "/", "/static/page.css", "/events", f"/open/{home.link()}"):
        answer = await browser.get(path, host=host)
        assert (answer.status, answer.code) == (403, "page-request-refused")
        assert not answer.cookies
    assert (await browser.get("/about", host=None)).status == 403
    assert (await browser.get("/about", host=f"localhost:{PORT}")).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "x"])
def test_other_sites_are_told_by_the_browser(site: str) -> None:
    """A page on another port of this host is `same-site`, and as foreign as any other."""
    for target in ("/", "/about", "/events", "/static/page.css", "/open", "/opens/x"):
        assert detail("GET", target, sec_fetch_site=site) == "foreign-page", target
    assert detail("POST", "/leave", sec_fetch_site=site, origin=OWN) == "foreign-page"


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        f"http://127.0.0.1:{PORT + 1}",
        f"https://127.0.0.1:{PORT}",
        f"http://localhost:{PORT}",
    ],
)
def test_a_foreign_origin_is_refused(origin: str) -> None:
    """Also where a browser tells no fetch metadata; the origin has to be the very one that was asked."""
    assert detail("POST", "/leave", origin=origin) == "foreign-page"
    assert detail("GET", "/about", origin=origin) == "foreign-page"


def test_what_the_page_itself_asks_is_let_through() -> None:
    """With and without fetch metadata, by hand, and under its other name."""
    assert detail("GET", "/") == ""
    assert detail("GET", "/", sec_fetch_site="none") == ""
    assert detail("GET", "/history?x=1", sec_fetch_site="same-origin", origin=OWN) == ""
    assert detail("POST", "/leave", origin=OWN) == ""
    assert detail("POST", "/leave", sec_fetch_site="same-origin") == ""
    assert detail("POST", "/leave", host=f"localhost:{PORT}", origin=f"http://localhost:{PORT}") == ""


def test_a_post_says_where_it_comes_from() -> None:
    """One that says nothing, or that comes from no page, is refused."""
    assert detail("POST", "/leave") == "foreign-page"
    assert detail("POST", "/leave", sec_fetch_site="none") == "foreign-page"


def test_a_link_may_be_followed_from_anywhere_but_into_a_frame() -> None:
    """A notification, a terminal, a mail; not an image or a frame of another page."""
    for site in ("none", "cross-site", "same-origin"):
        assert detail("GET", "/open/abc", sec_fetch_site=site, sec_fetch_dest="document") == ""
        for kind in ("iframe", "image", "empty", "script"):
            assert detail("GET", "/open/abc", sec_fetch_site=site, sec_fetch_dest=kind) == "foreign-page"
    assert detail("POST", "/open/abc", sec_fetch_site="cross-site") == "foreign-page"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "CONNECT", "get"])
def test_other_methods_are_refused(method: str) -> None:
    """No preflight is answered, so no foreign page may send anything but what forms can."""
    assert detail(method, "/") == "method"


async def test_there_are_no_web_sockets() -> None:
    """Browsers let any page open them to anywhere: nothing behind the guard gets to see one."""

    async def never(*_: object) -> None:
        raise AssertionError

    guard = Guard(never, PORT, Activity(ManualClock()), lambda *_: never)
    await guard({"type": "websocket", "path": "/events", "headers": []}, never, never)  # type: ignore[arg-type]


async def test_every_answer_carries_the_headers(home: Home) -> None:
    """Views, files, errors, refusals and redirects alike; none may be framed, and none is stored but files."""
    browser = await home.signed_in()
    token = (await browser.get("/about")).csrf
    answers = {
        200: await browser.get("/about"),
        404: await browser.get("/nothing"),
        403: await browser.get("/about", host="evil.example"),
        401: await home.browser().get("/about"),
        303: await browser.send("POST", "/language", form={"csrf": token, "language": "en"}),
        405: await browser.send("POST", "/about", form={"csrf": token}),
    }
    for status, answer in answers.items():
        assert answer.status == status
        for name, value in SECURITY_HEADERS:
            assert answer.headers[name.decode()] == value.decode()
        assert answer.headers["cache-control"] == "no-store"
    policy = answers[200].headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answers[200].headers["x-frame-options"] == "DENY"


async def test_files_may_be_kept_and_nothing_else_is_one(home: Home) -> None:
    """A file's address carries its digest; names lead nowhere but to the files of the package."""
    browser = await home.signed_in()
    file = await browser.get("/static/page.css?v=1")
    assert file.status == 200
    assert "immutable" in file.headers["cache-control"]
    for name in ("../page.py", "..%2fpage.py", "page.py", "__init__.py", "%2e%2e/app.py", "page.css/x", "x" * 500):
        assert (await browser.get(f"/static/{name}")).status == 404, name


async def decided(home: Home) -> bool:
    """Whether anything was decided on the device."""
    return any(entry.event != "enrolled" for entry in home.core.journal.log(None, 0, 100))


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é", SECRET, "x" * 10_000])
async def test_a_form_without_the_sessions_token_does_nothing(home: Home, token: str | None) -> None:
    """CSRF: every view that does something refuses it, whether it looks at its form or not."""
    browser = await home.signed_in()
    form = {} if token is None else {"csrf": token}
    for path in (
        "/leave",
        "/language",
        "/update/cancel",
        "/rollback",
        "/offers/abc/answer",
        "/cleaning",
        "/data/restore",
    ):
        answer = await browser.send("POST", path, form={**form, "language": "en"})
        assert answer.status in {403, 404}, path
        assert answer.code in {"page-request-refused", "page-not-found"}
    assert (await browser.send("POST", "/leave", form=form)).code == "page-request-refused"
    assert (await browser.get("/about")).status == 200
    assert not await decided(home)


async def test_a_view_that_forgets_its_form_is_guarded_all_the_same(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes a view can't leave the check out."""
    done: list[str] = []

    @post("/careless")
    async def careless() -> str:
        done.append("done")
        return "done"

    monkeypatch.setattr(app, "VIEWS", (*app.VIEWS, SimpleNamespace(HANDLERS=[careless])))
    home = Home(home.core, home.clock)
    browser = await home.signed_in()
    assert (await home.browser().send("POST", "/careless", form={})).status == 401
    assert (await browser.send("POST", "/careless", form={"csrf": "x"})).status == 403
    assert done == []
    token = (await browser.get("/about")).csrf
    assert (await browser.send("POST", "/careless", form={"csrf": token})).body == "done"


async def test_the_token_of_another_session_does_nothing(home: Home) -> None:
    """An attacker with a session of their own can't use their token in another one."""
    browser, other = await home.signed_in(), await home.signed_in()
    stolen = (await other.get("/about")).csrf
    assert stolen != (await browser.get("/about")).csrf
    assert (await browser.send("POST", "/leave", form={"csrf": stolen})).code == "page-request-refused"
    assert (
        await browser.send("POST", "/leave", form=[("csrf", (await browser.get("/about")).csrf), ("csrf", stolen)])
    ).status == 403


async def test_a_foreign_page_can_not_use_a_known_token(home: Home) -> None:
    """Even with the right token, what another page sends is refused."""
    browser = await home.signed_in()
    token = (await browser.get("/about")).csrf
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}, {"origin": "null"}):
        answer = await browser.send("POST", "/leave", form={"csrf": token}, headers=headers)
        assert (answer.status, answer.code) == (403, "page-request-refused")
    assert (await browser.get("/about")).status == 200


async def refused_body(browser: Browser, body: bytes, content_type: str | None) -> None:
    answer = await browser.send(
        "POST", "/leave", body=body, headers={"content-type": content_type} if content_type else {}
    )  # type: ignore[dict-item]
    assert answer.status in {403, 413}
    assert answer.code == "page-request-refused"
    assert (await browser.get("/about")).status == 200


FORM = "application/x-www-form-urlencoded"


async def test_what_is_no_form_is_refused(home: Home) -> None:
    """JSON, parts, nothing, too much, too many fields, and bytes that are no text."""
    browser = await home.signed_in()
    token = (await browser.get("/about")).csrf.encode()
    await refused_body(browser, b'{"csrf": "' + token + b'"}', "application/json")
    await refused_body(browser, b"csrf=" + token, "text/plain")
    await refused_body(browser, b"csrf=" + token, None)
    await refused_body(browser, b"", FORM)
    await refused_body(browser, b"csrf=" + token + b"&a=%ff", FORM)
    await refused_body(browser, b"csrf=" + token + b"&a=\xff", FORM)
    await refused_body(browser, b"csrf=" + token + b"&a" * FIELDS_MAX, FORM)
    await refused_body(browser, b"csrf=" + token + b"&a=" + b"x" * BODY_MAX_BYTES, FORM)
    huge = await browser.send("POST", "/leave", body=b"x" * (BODY_MAX_BYTES + 1), headers={"content-type": FORM})
    assert huge.status == 413, "it was read as a whole before it was refused"


@pytest.mark.parametrize(
    "path",
    [
        "/history?before=x",
        "/history?before=99999999999999999999999",
        "/report?seq=%00",
        "/report?seq=-1",
        "/model?model=../../etc/passwd",
        "/model?model=" + "x" * 1500,
        "/update?model=%f0%28%8c%28",
        "/offers/../../about",
        "/offers/%00",
        "/removed/" + "z" * 300,
        "/history?" + "&".join(f"a{n}=1" for n in range(200)),
    ],
)
async def test_hostile_addresses_get_an_error_with_a_code(home: Home, path: str) -> None:
    """Never an answer of status 500, never a word of what they carried into the page unescaped."""
    browser = await home.signed_in()
    answer = await browser.get(path)
    assert answer.status < 500
    assert "Traceback" not in answer.body


async def test_an_endless_address_is_refused(home: Home) -> None:
    """Before anything looks at it."""
    browser = await home.signed_in()
    assert (await browser.get("/about?x=" + "y" * TARGET_MAX_CHARS)).code == "page-request-refused"


async def test_what_comes_from_outside_is_escaped(home: Home) -> None:
    """A path, a parameter, a model's name: text, never markup."""
    browser = await home.signed_in()
    for path in (
        "/<script>alert(1)</script>",
        "/model?model=<script>alert(1)</script>",
        "/offers/<script>alert(1)</script>",
    ):
        answer = await browser.get(path)
        assert "<script>alert" not in answer.body

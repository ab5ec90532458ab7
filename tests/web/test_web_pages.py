"""Pages as the server writes them: who may see them, what stands in them, how hostile text reads."""

import asyncio
import time
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fake_v1 import KEY, KEY_ID, SECRET, FakeV1, fake_app, job_record

from services.jobqueue.listing import JobQuery
from services.jobqueue.records import JobError, JobState, QueuePlace
from services.web import sessions, text
from services.web.site import CONTENT_SECURITY_POLICY

WAITS = QueuePlace(position=3, reason="no_free_worker", eta_seconds=130)
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil\x1b[31m\n{{ 7*7 }}"


def ask(fake: FakeV1, method: str, path: str, *, cookie: str | None = None, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(fake_app(fake))
        cookies = {} if cookie is None else {sessions.COOKIE_NAME: cookie}
        base = options.pop("base_url", "http://unroll")
        async with httpx.AsyncClient(transport=transport, base_url=base, cookies=cookies) as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def session(seconds_ago: float = 0) -> str:
    return sessions.issue(SECRET, KEY_ID, time.time() - seconds_ago)


class _Text(HTMLParser):
    """The words of a page, as a browser would show them."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: httpx.Response) -> _Text:
    parser = _Text()
    parser.feed(page.text)
    return parser


@pytest.mark.parametrize(
    ("cookie", "live"),
    [
        (None, {KEY_ID}),
        ("", {KEY_ID}),
        ("forged.1.ab", {KEY_ID}),
        (session(12 * 3600), {KEY_ID}),
        (session(), set()),
    ],
    ids=["none", "empty", "forged", "over", "of a revoked key"],
)
def test_page_without_a_living_session_leads_to_the_login(cookie: str | None, live: set[str]) -> None:
    fake = FakeV1()
    fake.live_keys = live
    answer = ask(fake, "GET", "/jobs/job-1?x=1", cookie=cookie)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fjobs%2Fjob-1%3Fx%3D1")
    assert ask(fake, "GET", "/", cookie=cookie).headers["location"] == "/login"
    assert ask(fake, "GET", "/parts/runs", cookie=cookie).status_code == 401


def test_login_sets_a_cookie_scripts_cannot_read_and_leads_back_to_the_page_that_was_asked_for() -> None:
    answer = ask(FakeV1(), "POST", "/login", data={"key": f" {KEY}\n", "next": "/jobs/job-1?x=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/job-1?x=1")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert KEY not in cookie
    assert "Secure" not in cookie
    assert sessions.verify(SECRET, answer.cookies[sessions.COOKIE_NAME], time.time()) == KEY_ID


def test_cookie_set_over_https_stays_on_https() -> None:
    answer = ask(FakeV1(), "POST", "/login", data={"key": KEY}, base_url="https://unroll")
    assert "Secure" in answer.headers["set-cookie"].split("; ")


@pytest.mark.parametrize(
    "path",
    [
        *("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "/jobs/x\r\na: b"),
        *("/v1/jobs", "/login?next=/login", "/parts/runs", "/static/run.js", "jobs/x", "", "/jobs/" + "a" * 2001),
    ],
)
def test_login_leads_to_own_pages_alone_whatever_it_is_told(path: str) -> None:
    answer = ask(FakeV1(), "POST", "/login", data={"key": KEY, "next": path})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_address_that_a_run_had_before_it_had_a_page_leads_to_the_page() -> None:
    answer = ask(FakeV1(), "GET", "/", cookie=session(), params={"job": "job-1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/job-1")
    foreign = ask(FakeV1(), "GET", "/", cookie=session(), params={"job": "/evil.example\r\n"})
    assert foreign.headers["location"] == "/"


def test_header_marks_the_page_one_is_at() -> None:
    fake = FakeV1()
    fake.jobs = [job_record("job-1")]
    for path in ("/", "/jobs/job-1"):
        assert '<a href="/" aria-current="page">Runs</a>' in ask(fake, "GET", path, cookie=session()).text
    assert "<nav" not in ask(fake, "GET", "/login").text


def test_wrong_key_is_refused_and_not_repeated() -> None:
    answer = ask(FakeV1(), "POST", "/login", data={"key": "wrong-key"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "wrong-key" not in answer.text
    assert "No such key" in answer.text


def test_logout_needs_the_csrf_token() -> None:
    cookie = session()
    refused = ask(FakeV1(), "POST", "/logout", cookie=cookie, data={"csrf": "0" * 64})
    assert "set-cookie" not in refused.headers
    done = ask(FakeV1(), "POST", "/logout", cookie=cookie, data={"csrf": sessions.csrf_token(SECRET, cookie)})
    assert done.headers["location"] == "/login"
    assert "Max-Age=0" in done.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/", "/login", "/parts/runs", "/jobs/nobody"])
def test_every_page_carries_the_policy(path: str) -> None:
    answer = ask(FakeV1(), "GET", path, cookie=session())
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_list_shows_each_job_in_numbers() -> None:
    fake = FakeV1()
    fake.jobs = [
        job_record("job-2", state=JobState.QUEUED, queue=WAITS, best=None),
        job_record("job-1", name="Shakespeare"),
    ]
    rows = read(ask(fake, "GET", "/", cookie=session())).words
    words = [word.strip() for word in rows if word.strip()]
    at = words.index("Age") + 1
    waits = "place 3: every worker is taken, starts in about 2 min"
    assert words[at : at + 18] == [
        *("queued", "job-2", waits, "lstm 320x1", "shakespeare.txt", "42 %", "–", "–", "3 min"),
        *("running", "Shakespeare", "lstm 320x1", "shakespeare.txt", "42 %", "2 min left", "1.573", "51,234", "3 min"),
    ]


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("/", JobQuery()),
        ("/?state=failed&page=2", JobQuery(state=JobState.FAILED, page=2)),
        ("/?q=+lstm+&sort=best&reverse=1", JobQuery(text="lstm", order="best", is_reversed=True)),
        ("/?metadata=lab=3=4&sweep=sweep-1", JobQuery(metadata=("lab", "3=4"), sweep="sweep-1")),
    ],
)
def test_address_says_what_the_list_shows(address: str, query: JobQuery) -> None:
    fake = FakeV1()
    assert ask(fake, "GET", address, cookie=session()).status_code == 200
    assert fake.queries == [query]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?state=gone", "no state gone; there are queued, running,"),
        ("/?sort=luck", "no column luck to sort by; there are age, state,"),
        ("/?metadata=lab", "metadata is looked for by key=value, not by lab"),
        ("/?page=0", "no page 0; pages count from 1"),
        ("/?page=9999999", "no page 9999999; pages count from 1"),
        ("/?page=²", "no page ²; pages count from 1"),
    ],
)
def test_address_that_makes_no_sense_is_named_and_left_out(address: str, words: str) -> None:
    fake = FakeV1()
    answer = ask(fake, "GET", address, cookie=session())
    assert answer.status_code == 200
    assert words in answer.text
    assert fake.queries == [JobQuery()]


def test_column_heads_lead_to_the_list_sorted_by_them_and_then_the_other_way() -> None:
    fake = FakeV1()
    fake.jobs = [job_record(f"job-{n}") for n in range(60)]
    page = ask(fake, "GET", "/?q=a&sort=best&page=2", cookie=session()).text
    assert '<a href="/?q=a&amp;sort=best&amp;reverse=1">Best bits/char</a>' in page
    assert '<a href="/?q=a&amp;sort=speed&amp;reverse=1">Characters/s</a>' in page
    assert '<a href="/?q=a">Age</a>' in page
    assert 'of-best" aria-sort="ascending"' in page
    assert page.count("aria-sort") == 1
    assert '<a rel="prev" href="/?q=a&amp;sort=best">' in page
    assert page.count("data-job=") == 10


def test_no_runs_shows_the_command_to_type() -> None:
    assert "unroll submit FILE --watch" in ask(FakeV1(), "GET", "/", cookie=session()).text


def test_unknown_run_says_so() -> None:
    answer = ask(FakeV1(), "GET", f"/jobs/{quote(HOSTILE, safe='')}", cookie=session())
    assert answer.status_code == 404
    assert "<img src=x" not in answer.text
    assert "⟨U+202E⟩evil⟨U+001B⟩[31m⟨U+000A⟩{{ 7*7 }}" in answer.text


def test_hostile_name_and_error_read_as_text() -> None:
    fake = FakeV1()
    fake.jobs = [
        job_record("job-1", name=HOSTILE, state=JobState.FAILED, error=JobError(type="x", message=HOSTILE, hint="</p>"))
    ]
    page = ask(fake, "GET", "/jobs/job-1", cookie=session())
    assert "<img src=x" not in page.text
    for invisible in "\u202e\x1b":
        assert invisible not in page.text
    assert "<img src=x onerror=alert(1)>⟨U+202E⟩evil⟨U+001B⟩[31m⟨U+000A⟩{{ 7*7 }}" in read(page).words
    assert "".join(read(page).words).count("<img src=x onerror=alert(1)>⟨U+202E⟩evil⟨U+001B⟩[31m\n{{ 7*7 }}") == 1
    assert "</p>" in read(page).words


def test_lone_surrogate_does_not_break_the_page() -> None:
    assert text.visible("a\ud800b") == "a⟨U+D800⟩b"


def test_static_modules_are_checked_anew_by_each_visit() -> None:
    answer = ask(FakeV1(), "GET", "/static/run.js")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/javascript")
    again = ask(FakeV1(), "GET", "/static/run.js", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2fsessions.py"])
def test_static_files_end_at_their_folder(path: str) -> None:
    assert ask(FakeV1(), "GET", path).status_code == 404


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (-3, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7500, "2 h 5 min"),
        (360_000, "4 d 4 h"),
    ],
)
def test_span_reads_as_people_say_it(seconds: float | None, words: str) -> None:
    assert text.span(seconds) == words

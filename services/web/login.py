"""Login and logout: the two ways a session begins and ends by hand."""

from typing import Annotated

from fastapi import Form, Query, Request
from fastapi.responses import Response

from services.web import sessions
from services.web.site import Site

Next = Annotated[str, Query(max_length=4000)]


def add(site: Site) -> None:
    """`/login`, which leads back to `next`, and `/logout`."""

    @site.router.get("/login")
    def login_page(next: Next = "/") -> Response:
        return site.render("login.html", None, next=site.own(next), refused=False)

    @site.router.post("/login")
    def login(request: Request, key: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/") -> Response:
        sources = site.sources
        key_id = sources.check_key(key.strip())
        if key_id is None:
            return site.render("login.html", None, 401, next=site.own(next), refused=True)
        answer = site.redirect(site.own(next))
        _set_cookie(answer, request, sessions.issue(sources.secret, key_id, sources.clock()), sessions.LIFETIME_SECONDS)
        return answer

    @site.router.post("/logout")
    def logout(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        cookie = request.cookies.get(sessions.COOKIE_NAME, "")
        if not sessions.csrf_matches(site.sources.secret, cookie, csrf):
            return site.redirect("/")
        answer = site.redirect("/login")
        _set_cookie(answer, request, "", 0)
        return answer


def _set_cookie(answer: Response, request: Request, value: str, max_age: int) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(sessions.COOKIE_NAME, value, max_age, httponly=True, samesite="strict", secure=secure)

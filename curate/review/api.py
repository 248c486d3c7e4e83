"""Label Studio's REST interface, as far as it is needed: one place for tokens, retries, errors and paging.

The token travels in one header to one host; redirects are refused. It stands in no message. A personal access token (a
JWT) is exchanged for short-lived ones, a legacy token is used as it is.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from curate.errors import ReviewError, UsageError

PAGE = 1000
_WAITS = (0.5, 2.0)  # seconds before a reading call is tried again
_LIFETIME = 240  # seconds that a short-lived token is used; it lives 300


class LostError(ReviewError):
    """The server did not answer, or not with a sound answer: what it did is unknown."""


class SlowError(LostError):
    """The time limit was over before the server's answer was complete; it may still be at work."""


class RefusedError(ReviewError):
    """The server answered with an error of the caller's; ``status`` is its code."""

    status = 0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Api:
    """One server, seen by one account. ``timeout`` is in seconds, for one request with its whole answer."""

    def __init__(self, url: str, token: str, timeout: float = 300) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isascii()
        except ValueError:
            known = False
        if "@" in url or "?" in url or "#" in url:  # secrets may stand there: they are not repeated
            found = "a user, password, query or fragment in it"
            raise UsageError("address of Label Studio", found, "expected http://host:port", "give the token apart")
        if not known:
            raise UsageError("address of Label Studio", url, "expected http://host:port")
        if not re.fullmatch(r"[\x21-\x7e]+", token or ""):
            raise UsageError("token of Label Studio", "empty, or not plain characters", "expected the account's token")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token
        self._access: tuple[str, float] | None = None
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))

    def __repr__(self) -> str:
        return f"Api({self.url!r})"

    def get(self, path: str, **query: Any) -> Any:
        """Read; tried again if the server does not answer, but not if it is slow: that would make it slower."""
        path = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        for wait in _WAITS:
            try:
                return self._call("GET", path)
            except SlowError:
                raise
            except LostError:
                time.sleep(wait)
        return self._call("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Change something; never repeated here, since the server would do it twice."""
        return self._call(method, path, body)

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All rows of a list. A page past the end is an error 404 of the server, and the end."""
        for page in range(1, 1_000_000):
            try:
                answer = self.get(path, page=page, page_size=PAGE, **query)
            except RefusedError as error:
                if error.status == 404 and page > 1:
                    return
                raise
            rows = answer.get("tasks", answer.get("results")) if isinstance(answer, dict) else answer
            if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
                raise LostError(f"GET {self.url}{path}", "answered with no list", hint="is that Label Studio?")
            yield from rows
            if len(rows) < PAGE:
                return

    def _call(self, method: str, path: str, body: Any = None, *, plain: bool = False) -> Any:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if not plain:
            request.add_header("Authorization", self._authorization())
        where = f"{method} {self.url}{path.partition('?')[0]}"
        try:
            try:
                with self._opener.open(request, timeout=self.timeout) as answer:
                    text = _read(answer, time.monotonic() + self.timeout)
            except urllib.error.HTTPError as error:
                raise self._error(where, error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(where, error) from None
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise LostError(where, "answered with something else than JSON", hint="is that Label Studio?") from None

    def _authorization(self) -> str:
        if self._token.count(".") != 2:
            return f"Token {self._token}"
        if self._access is None or time.monotonic() > self._access[1]:
            answer = self._call("POST", "/api/token/refresh/", {"refresh": self._token}, plain=True)
            if not isinstance(answer, dict) or "access" not in answer:
                raise LostError(self.url, "gave no short-lived token", hint="is that Label Studio?")
            self._access = answer["access"], time.monotonic() + _LIFETIME
        return f"Bearer {self._access[0]}"

    def _lost(self, where: str, error: Exception) -> LostError:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            hint = "it may still be at work; repeat the command later, or give --timeout: nothing is done twice"
            return SlowError(where, f"no whole answer within {self.timeout:g} s", hint=hint)
        if isinstance(reason, http.client.IncompleteRead):
            return LostError(where, "the answer was cut off", hint="repeat the command; nothing is done twice")
        return LostError(where, f"no answer ({reason})", hint="is it running ('curate review serve')? repeat")

    def _error(self, where: str, error: urllib.error.HTTPError) -> ReviewError:
        text = error.read(2000).decode("utf-8", "replace")
        for secret in (self._token, self._access[0] if self._access else self._token):
            text = text.replace(secret, "***")
        try:
            answer = json.loads(text)
            said = json.dumps(answer.get("validation_errors") or answer.get("detail") or answer)
        except (ValueError, AttributeError):
            said = "no explanation"
        if error.code == 401:
            return RefusedError(where, "refuses the token (401)", hint="log in and copy the account's token again")
        if error.code >= 500 or error.code in (408, 429):
            return LostError(
                where, f"failed ({error.code}): {said[:300]}", hint="repeat the command; nothing is done twice"
            )
        if 300 <= error.code < 400:
            return RefusedError(
                where, "leads to another address", "expected an answer", "give the server's own address"
            )
        refused = RefusedError(where, f"refused ({error.code}): {said[:300]}")
        refused.status = error.code
        return refused


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body. A socket's own time limit is for each piece, so that a trickle would never end."""
    pieces = []
    while piece := answer.read1(1 << 20):
        pieces.append(piece)
        if time.monotonic() > deadline:
            raise TimeoutError
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(pieces)


def join(admin: Api, email: str, password: str) -> str:
    """Make a full account through the invite link, as a person would; gives its token.

    Accounts made by ``POST /api/users/`` cannot log in.

    Raises:
        ReviewError: the server does not let it in.
    """
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        _NoRedirect, urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar)
    )
    invite = admin.get("/api/invite").get("invite_url")
    # The new password goes there: it must be this server, whatever the answer says.
    if not isinstance(invite, str) or not invite.startswith("/"):
        raise ReviewError(f"GET {admin.url}/api/invite", "answered with no path", hint="is that Label Studio?")
    page = admin.url + invite
    try:
        with opener.open(page, timeout=admin.timeout):
            csrf = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
        form = {"email": email, "password": password, "csrfmiddlewaretoken": csrf or "", "allow_newsletters": "false"}
        request = urllib.request.Request(page, urllib.parse.urlencode(form | {"how_find_us": ""}).encode())
        request.add_header("Referer", page)
        try:
            with opener.open(request, timeout=admin.timeout):
                pass
            raise ReviewError(admin.url, "did not accept the account", "expected a new address and a good password")
        except urllib.error.HTTPError as error:
            if error.code != 302:
                raise
        with opener.open(f"{admin.url}/api/current-user/token", timeout=admin.timeout) as answer:
            token: str = json.load(answer)["token"]
            return token
    except (OSError, http.client.HTTPException, ValueError, KeyError, StopIteration) as error:
        raise ReviewError(admin.url, f"made no account ({type(error).__name__})", hint="look at its log") from None

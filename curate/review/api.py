"""Label Studio, spoken to through its SDK: one place for tokens, time limits, errors and paging.

The token goes to one host; redirects are refused, proxies of the environment are not asked. It stands in no message. A
personal access token is exchanged for short-lived ones by the SDK, a legacy token is used as it is. The SDK never
repeats a request here: who changes something must know how often.

What is given back is the server's own JSON, not the SDK's models: these turn times into others of the same moment, and
a log's keys are made of them.
"""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import CurateError, ReviewError, UsageError

if TYPE_CHECKING:
    import httpx

PAGE = 1000
_WAITS = (0.5, 2.0)  # seconds before a reading call is tried again
_ONCE: Any = {"max_retries": 0}
_NOTHING = object()
_REFRESH = "/api/token/refresh/"
_INSTALL = "install it: pip install 'curate[review]'"
_AGAIN = "install it anew: pip install --force-reinstall 'label-studio-sdk>=2.1'"

Row = dict[str, Any]
Hook = Callable[["httpx.Response"], None]


class LostError(ReviewError):
    """The server did not answer, or not with a sound answer: what it did is unknown."""


class SlowError(LostError):
    """The time limit was over before the server's answer was complete; it may still be at work."""


class RefusedError(ReviewError):
    """The server answered with an error of the caller's; ``status`` is its code."""

    status = 0


class Api:
    """One server, seen by one account. ``timeout`` is in seconds, for one request with its whole answer.

    Every method that reads is tried again if the server does not answer; one that changes something never is, since
    the server would do it twice.
    """

    def __init__(self, url: str, token: str, timeout: float = 300) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if "@" in url or "?" in url or "#" in url:  # secrets may stand there: they are not repeated
            found = "a user, password, query or fragment in it"
            raise UsageError("address of Label Studio", found, "expected http://host:port", "give the token apart")
        if not known or not re.fullmatch(r"[\x21-\x7e]+", url):
            raise UsageError("address of Label Studio", url, "expected http://host:port")
        if not re.fullmatch(r"[\x21-\x7e]+", token or ""):
            raise UsageError("token of Label Studio", "empty, or not plain characters", "expected the account's token")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token
        self._access = ""  # the short-lived token in use, if any
        self._header = ""  # by which the SDK entered last
        self._sdk: Any = None
        self._http: Any = None  # the SDK's way to the server
        self._answer: Any = _NOTHING  # the last one, and to what
        self._where = self.url

    def __repr__(self) -> str:
        return f"Api({self.url!r})"

    # ------------------------------------------------------------------------------------------------------- reading

    def projects(self) -> Iterator[Row]:
        return self._pages(lambda sdk, page: sdk.projects.list(**page))

    def storages(self, project: int) -> list[Row]:
        """The folders of local files that a project may show."""
        return self._rows(self._read(lambda sdk: sdk.import_storage.local.list(project=project, request_options=_ONCE)))

    def tasks(self, project: int, *include: str) -> Iterator[Row]:
        """The tasks of a project: these fields of each, or all of it with annotations, drafts and predictions."""
        some = {"fields": "task_only", "include": ",".join(include)} if include else {"fields": "all"}
        return self._pages(lambda sdk, page: sdk.tasks.list(project=project, **some, **page))

    def task(self, number: int | str) -> Row:
        """One task, with annotations, drafts and predictions."""
        return self._row(self._read(lambda sdk: sdk.tasks.get(str(number), request_options=_ONCE)))

    def users(self) -> list[Row]:
        return self._rows(self._read(lambda sdk: sdk.users.list(request_options=_ONCE)))

    def whoami(self) -> Row:
        return self._row(self._read(lambda sdk: sdk.users.whoami(request_options=_ONCE)))

    def invitation(self) -> str:
        """The path of the page on which whoever knows it makes an account.

        Raises:
            ReviewError: it leads elsewhere. A new password goes there: whatever the answer says, to this server only.
        """
        answer = self._read(lambda sdk: sdk.organizations.invites.get_invite_link(request_options=_ONCE))
        path = answer.get("invite_url") if isinstance(answer, dict) else None
        if not isinstance(path, str) or not path.startswith("/"):
            raise ReviewError(f"GET {self.url}/api/invite", "answered with no path", hint="is that Label Studio?")
        return path

    # ------------------------------------------------------------------------------------------------------ changing

    def make_project(self, **fields: Any) -> Row:
        return self._row(self._send(lambda sdk: sdk.projects.create(**fields, request_options=_ONCE)))

    def make_storage(self, project: int, path: str) -> None:
        """Let a project show the local files below ``path``."""
        fields: Any = {"project": project, "path": path, "title": "images", "use_blob_urls": True}
        self._send(lambda sdk: sdk.import_storage.local.create(**fields, request_options=_ONCE))

    def import_tasks(self, project: int, tasks: Sequence[Row]) -> None:
        """Add tasks to a project, all of them or none."""
        # By hand: the SDK looks at each number by itself, which takes longer for masks than the server does.
        url = f"{self.url}/api/projects/{project}/import"
        body = json.dumps(tasks, separators=(",", ":")).encode()
        headers = {"Authorization": self._authorization(), "Content-Type": "application/json"}
        self._call(lambda _: self._http.post(url, content=body, headers=headers))

    def delete_tasks(self, project: int, tasks: Iterable[int], filters: Mapping[str, Any]) -> None:
        """Delete those of ``tasks`` that the filters let through."""
        chosen = {"all": False, "included": list(tasks)}
        self._send(
            lambda sdk: sdk.actions.create(
                id="delete_tasks", project=project, filters=filters, selected_items=chosen, request_options=_ONCE
            )
        )

    def annotate(self, task: int, result: Sequence[Row], lead_time: float) -> Row:
        """Answer a task as the account's own work; ``lead_time`` is in seconds."""
        fields: Any = {"result": result, "lead_time": lead_time}
        return self._row(self._send(lambda sdk: sdk.annotations.create(task, **fields, request_options=_ONCE)))

    # ---------------------------------------------------------------------------------------------------- underneath

    def _pages(self, call: Callable[..., object]) -> Iterator[Row]:
        """All rows of a list. A page past the end is an error 404 of the server, and the end."""
        for number in range(1, 1_000_000):
            page = {"page": number, "page_size": PAGE, "request_options": _ONCE}
            try:
                rows = self._rows(self._read(partial(call, page=page)))
            except RefusedError as error:
                if error.status == 404 and number > 1:
                    return
                raise
            yield from rows
            if len(rows) < PAGE:
                return

    def _rows(self, answer: Any) -> list[Row]:
        rows = answer.get("tasks", answer.get("results")) if isinstance(answer, dict) else answer
        if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
            raise LostError(self._where, "answered with no list", hint="is that Label Studio?")
        return rows

    def _row(self, answer: Any) -> Row:
        if not isinstance(answer, dict) or type(answer.get("id")) is not int:
            raise LostError(self._where, "answered with something else than asked for", hint="is that Label Studio?")
        return answer

    def _read(self, call: Callable[[Any], object]) -> Any:
        """Tried again if the server does not answer, but not if it is slow: that would make it slower."""
        for wait in _WAITS:
            try:
                return self._send(call)
            except SlowError:
                raise
            except LostError:
                time.sleep(wait)
        return self._send(call)

    def _authorization(self) -> str:
        if self._token.count(".") != 2:
            return f"Token {self._token}"
        self._read(lambda sdk: sdk.users.whoami(request_options=_ONCE))  # the SDK renews a token that has ended
        return self._header

    def _send(self, call: Callable[[Any], object]) -> Any:
        """One call of the SDK, which makes one request; gives what the server answered."""
        used = self._sdk is not None and bool(self._access)
        try:
            return self._call(call)
        except RefusedError as error:
            if error.status != 401 or not used:
                raise
        # A short-lived token may end on its way, or clocks differ. Who was refused has changed nothing: with a new one,
        # the request is made for the first time.
        self._sdk = None
        return self._call(call)

    def _call(self, call: Callable[[Any], object]) -> Any:
        if self._sdk is None:
            self._http, self._sdk = _sdk(self.url, self._token, self.timeout, self._heard)
        import httpx

        self._answer, self._where = _NOTHING, self.url
        try:
            call(self._sdk)
        except CurateError:
            raise
        except httpx.HTTPError as error:
            raise self._lost(error) from None
        except Exception as error:
            # Once the answer is here, it does not matter what the SDK's models make of it.
            if self._answer is _NOTHING:
                found = self._hidden(f"failed ({type(error).__name__}: {error})")
                raise _broken(found) from None
        return self._answer

    def _heard(self, response: httpx.Response) -> None:
        """Whatever the server answers, before the SDK sees it.

        Raises:
            RefusedError: it is an error of ours.
            LostError: it is an error of the server, or no sound answer.
        """
        import httpx

        self._where = f"{response.request.method} {str(response.request.url).partition('?')[0]}"
        try:
            body = response.read()
        except httpx.TimeoutException:
            raise
        except httpx.HTTPError:
            raise LostError(
                self._where, "the answer was cut off", hint="repeat the command; nothing is done twice"
            ) from None
        if not response.is_success:
            raise self._error(self._where, response.status_code, body)
        try:
            answer = json.loads(body) if body else None
        except (ValueError, RecursionError):
            raise LostError(
                self._where, "answered with something else than JSON", hint="is that Label Studio?"
            ) from None
        if response.request.url.path.endswith(_REFRESH):
            access = answer.get("access") if isinstance(answer, dict) else None
            if not isinstance(access, str) or not access:
                raise LostError(self.url, "gave no short-lived token", hint="is that Label Studio?")
            self._access = access
        else:
            self._answer = answer
            self._header = response.request.headers["Authorization"]

    def _lost(self, error: httpx.HTTPError) -> LostError:
        import httpx

        try:
            request = error.request
            where = f"{request.method} {str(request.url).partition('?')[0]}"
        except RuntimeError:  # it has none
            where = self.url
        if isinstance(error, httpx.TimeoutException):
            hint = "it may still be at work; repeat the command later, or give --timeout: nothing is done twice"
            return SlowError(where, f"no whole answer within {self.timeout:g} s", hint=hint)
        reason = str(error) or type(error).__name__
        if "disconnected" in reason:
            reason = "Remote end closed connection without response"
        return LostError(where, f"no answer ({reason})", hint="is it running ('curate review serve')? repeat")

    def _hidden(self, text: str) -> str:
        for secret in (self._token, self._access):
            text = text.replace(secret, "***") if secret else text
        return text

    def _error(self, where: str, status: int, body: bytes) -> ReviewError:
        text = self._hidden(body.decode("utf-8", "replace"))
        try:
            answer = json.loads(text)
            said = json.dumps(answer.get("validation_errors") or answer.get("detail") or answer)
        except (ValueError, AttributeError, RecursionError):
            said = "no explanation"
        if status >= 500 or status in (408, 429):
            return LostError(
                where, f"failed ({status}): {said[:300]}", hint="repeat the command; nothing is done twice"
            )
        if status < 400:
            return RefusedError(
                where, "leads to another address", "expected an answer", "give the server's own address"
            )
        if status == 401:
            refused = RefusedError(where, "refuses the token (401)", hint="log in and copy the account's token again")
        else:
            refused = RefusedError(where, f"refused ({status}): {said[:300]}")
        refused.status = status
        return refused


def _sdk(url: str, token: str, timeout: float, heard: Hook) -> tuple[httpx.Client, Any]:
    """The SDK's client of a server, and by what it reaches it; nothing is asked yet.

    Raises:
        ReviewError: the SDK is missing, or does not work.
        RefusedError: the token has expired.
        UsageError: the address names no host.
    """
    try:
        # What LabelStudio is made of, without pandas and the rest of what only its tools for configs and exports need.
        from label_studio_sdk.base_client import LabelStudioBase

        client = _client(timeout, heard)
    except ModuleNotFoundError as error:
        if error.name not in ("httpx", "label_studio_sdk"):
            raise _broken(f"cannot be imported ({error})") from None
        raise ReviewError("label-studio-sdk", "is not installed", "expected it for Label Studio", _INSTALL) from None
    except Exception as error:
        raise _broken(f"cannot be imported ({type(error).__name__}: {error})") from None
    import httpx

    try:
        _ = httpx.URL(url).host
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError("address of Label Studio", f"{url} ({error})", "expected http://host:port") from None
    try:
        # With the stroke at its end, or the SDK would ask for short-lived tokens beside a folder of the address.
        return client, LabelStudioBase(base_url=f"{url}/", api_key=token, httpx_client=client)
    except Exception as error:  # it reads when a personal access token ends
        if token.count(".") != 2:
            raise _broken(f"failed ({type(error).__name__})") from None
        hint = "log in and make a new personal access token"
        raise RefusedError("token of Label Studio", "has expired, or does not say when it does", hint=hint) from None


def _broken(found: str) -> ReviewError:
    return ReviewError("label-studio-sdk", found, "expected version 2.1 or later", _AGAIN)


def _client(timeout: float, heard: Hook | None = None, *, cookies: bool = False) -> httpx.Client:
    """How everything goes over the wire: to the address that is named and no other, and within ``timeout`` seconds."""
    import ssl

    import httpx

    class Within(httpx.SyncByteStream):
        """httpx's own limit is for each piece, so that a trickle would never end."""

        def __init__(self, stream: httpx.SyncByteStream, deadline: float) -> None:
            self.stream = stream
            self.deadline = deadline

        def __iter__(self) -> Iterator[bytes]:
            for piece in self.stream:
                yield piece
                if time.monotonic() > self.deadline:
                    raise httpx.ReadTimeout("the whole answer takes too long")

        def close(self) -> None:
            self.stream.close()

    class Transport(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            deadline = time.monotonic() + timeout
            response = super().handle_request(request)
            assert isinstance(response.stream, httpx.SyncByteStream)
            response.stream = Within(response.stream, deadline)
            return response

    return httpx.Client(
        # Certificates as the machine trusts them; httpx has a list of its own.
        transport=Transport(verify=ssl.create_default_context(), trust_env=False),
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
        # A connection that is kept may be closed by the server just when a request is sent: was it taken or not?
        headers={"Connection": "close", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=None if cookies else [])),
        event_hooks={"response": [heard] if heard else []},
    )


class Account(NamedTuple):
    """One account; ``name`` says which for ever: its number, and since when. Another server has other times."""

    user: int
    email: str
    name: str


def accounts(api: Api) -> list[Account]:
    """All accounts of the server."""
    return [
        Account(int(one["id"]), str(one.get("email")), f"{one['id']}.{one.get('date_joined')}") for one in api.users()
    ]


def account(api: Api, email: str) -> Account | None:
    """The account with this address, if there is one."""
    return {one.email.casefold(): one for one in accounts(api)}.get(email.casefold())


def join(admin: Api, email: str, password: str) -> str:
    """Make a full account through the invite link, as a person would; gives its legacy token.

    Accounts made by ``POST /api/users/`` cannot log in.

    Raises:
        ReviewError: the server does not let it in.
    """
    page = admin.url + admin.invitation()
    import httpx

    try:
        with _client(admin.timeout, cookies=True) as client:
            client.get(page).raise_for_status()
            form = {"email": email, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
            form |= {"allow_newsletters": "false", "how_find_us": ""}
            answer = client.post(page, data=form, headers={"Referer": page})
            if answer.status_code == 200:
                raise ReviewError(admin.url, "did not accept the account", "expected a new address and a good password")
            if answer.status_code != 302:
                answer.raise_for_status()
            token: str = client.get(f"{admin.url}/api/current-user/token").raise_for_status().json()["token"]
            return token
    except (httpx.HTTPError, httpx.CookieConflict, ValueError, KeyError) as error:
        raise ReviewError(admin.url, f"made no account ({type(error).__name__})", hint="look at its log") from None

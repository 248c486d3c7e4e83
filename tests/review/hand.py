"""A person's hand on a server by plain requests, as the page in the browser makes them: nothing of the code tested."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple


class Hand(NamedTuple):
    """An account of a server, by its legacy token."""

    url: str
    token: str

    def get(self, path: str, **query: Any) -> Any:
        return self.send("GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All rows of a list, a hundred at a time; its end is an error 404 of the server."""
        for page in range(1, 1000):
            try:
                answer = self.get(path, page=page, page_size=100, **query)
            except urllib.error.HTTPError as error:
                if error.code != 404 or page == 1:
                    raise
                return
            rows = answer.get("tasks", answer.get("results"))
            yield from rows
            if len(rows) < 100:
                return

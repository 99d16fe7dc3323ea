"""The Cloud's REST API as an outsider uses it: JSON, bytes, pages; the standard library alone."""

import http.client
import json
import ssl
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

DEADLINE: Final = 60.0


class RestFailedError(Exception):
    """The Cloud answered with an error, or not at all; the text states to which request."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Rest:
    """A client with one token and one connection for each thread."""

    def __init__(self, url: str, token: str, ca: Path) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._token = token
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []

    def json(self, path: str, *, method: str = "GET", body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of an answer, None when it is empty; `path` begins with `/`."""
        answer = self.fetch(path, method=method, body=body)
        return json.loads(answer) if answer else None

    def items(self, path: str) -> Iterator[Any]:
        """Return every item of a list, page by page."""
        sign, cursor = "&" if "?" in path else "?", ""
        while True:
            page = self.json(
                f"{path}{sign}limit=1000"
                + (f"&cursor={urllib.parse.quote(cursor)}" if cursor else "")
            )
            yield from page["items"]
            if not (cursor := page["next"] or ""):
                return

    def fetch(
        self, path: str, *, method: str = "GET", body: Mapping[str, Any] | None = None
    ) -> bytes:
        """Return the bytes of an answer.

        Raises RestFailedError for a status of 400 and above, and when there is no answer.
        """
        headers = {"Authorization": f"Bearer {self._token}"} | (
            {"Content-Type": "application/json"} if body is not None else {}
        )
        data = None if body is None else json.dumps(body).encode()
        connection = self._connection()
        if method != "GET":
            # the Cloud may be closing an idle one; only what can be repeated is risked on it
            connection.close()
        for attempt in (1, 2):
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                content = answer.read()
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if attempt == 2 or method != "GET":
                    raise RestFailedError(
                        f"{method} {path}: {type(error).__name__}: {error}"
                    ) from error
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise RestFailedError(
                f"{method} {path}: status {answer.status}:"
                f" {content[:500].decode(errors='replace')}",
                answer.status,
            )
        return content

    def close(self) -> None:
        """Close every connection, also those of threads that have ended.

        A later request connects again.
        """
        for connection in self._open:
            connection.close()

    def _connection(self) -> http.client.HTTPSConnection:
        found: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if found is None:
            found = http.client.HTTPSConnection(
                self._host, self._port, timeout=DEADLINE, context=self._tls
            )
            self._local.connection = found
            self._open.append(found)
        return found

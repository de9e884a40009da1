"""One conversation partner behind HTTP: an OpenAI-compatible `chat/completions` endpoint.

Time-outs and lost connections are tried again by urllib3, with exponential back-off and jitter. So are, here, the
statuses in `AGAIN` and replies of status 200 that hold an error or no choices; the server's Retry-After is obeyed up
to a maximum.
"""

import os
import random
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
HOPELESS = (301, 302, 303, 307, 308, 401, 403, 404, 405)
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached")
_WORTH_SAYING = 5.0  # seconds


class EndpointRefused(ValueError):
    """Asking on makes no sense: a wrong address, model or key, or an endpoint that is down."""


class NoReply(OSError):
    """One request that got no usable reply; `str()` of it says why, in a few words."""


@dataclass(frozen=True)
class Access:
    """Where the endpoint is and how to get in. The key shows nowhere."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The server's name, without port, path or user."""
        return urlsplit(self.url).hostname or ""

    def without_key(self, text: str | None) -> str | None:
        """Take the key out of a server's text, should it repeat it."""
        return text.replace(self.key, "***") if text and self.key else text

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Access":
        """Read MVA_JUDGE_URL, MVA_JUDGE_MODEL and MVA_JUDGE_KEY (for OpenAI's own URL also OPENAI_API_KEY).

        Raises:
            ValueError: If the URL or the model is missing, or the URL or the key can't be one.
        """
        url, model = (environment.get(name, "").strip() for name in ("MVA_JUDGE_URL", "MVA_JUDGE_MODEL"))
        if not url or not model:
            raise ValueError(
                "judge=endpoint needs the environment variables MVA_JUDGE_URL (such as https://api.openai.com/v1) and "
                "MVA_JUDGE_MODEL, and where the server wants one MVA_JUDGE_KEY."
            )
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("MVA_JUDGE_URL must be http(s)://host[:port]/path, with no user or password in it.")
        key = environment.get("MVA_JUDGE_KEY", "").strip()
        if not key and parts.hostname == "api.openai.com":
            key = environment.get("OPENAI_API_KEY", "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError("The judge's key holds blanks or characters that no key has: set MVA_JUDGE_KEY anew.")
        return cls(url.rstrip("/").removesuffix("/chat/completions"), model, key or None)


class Chat:
    """Sends chat completions; may be used by `connections` threads at once."""

    def __init__(
        self,
        access: Access,
        *,
        connections: int,
        timeout: float,
        retries: int,
        back_off: float,
        backoff_max: float = 60.0,
    ) -> None:
        self._access, self._timeout, self._retries = access, timeout, retries
        self._back_off, self._backoff_max = back_off, backoff_max
        self._refused: EndpointRefused | None = None
        lost_connections = Retry(
            total=retries, status=0, backoff_factor=back_off, backoff_jitter=back_off, backoff_max=backoff_max,
            allowed_methods=None, raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            adapter = HTTPAdapter(pool_maxsize=connections, max_retries=lost_connections)
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Send a request; returns the reply's JSON object, or None where the reply is broken.

        Raises:
            EndpointRefused: If no request like this can succeed.
            NoReply: If this one did not, after all retries.
        """
        if self._refused is not None:  # what one request learned holds for all
            raise self._refused
        try:
            return self._send(body)
        except EndpointRefused as refused:
            self._refused = refused
            raise

    def _send(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        for attempt in range(self._retries + 1):
            reply = self._post(body)
            if reply is None:
                return None
            record = _json(reply)
            problem = self._problem(reply, record)
            if not problem:
                return record
            if reply.status_code not in (200, *AGAIN):
                break
            if attempt < self._retries:
                self._wait(attempt, reply.headers.get("Retry-After"))
        raise NoReply(problem)

    def _post(self, body: Mapping[str, Any]) -> requests.Response | None:
        url = f"{self._access.url}/chat/completions"
        try:
            return self._session.post(
                url, json=body, auth=self._sign, timeout=self._timeout, allow_redirects=False
            )  # with `auth`, a .netrc can't put another key in
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            return None
        except requests.exceptions.RequestException as error:
            raise NoReply(f"no reply after {self._retries + 1} attempts ({_cause(error)})") from None

    def _problem(self, reply: requests.Response, record: dict[str, Any] | None) -> str:
        """Say what is wrong with a reply, in a few words; nothing if it can be read.

        Raises:
            EndpointRefused: If it would be the same the next time.
        """
        message = self._message(record)
        if reply.status_code in HOPELESS:
            raise EndpointRefused(self._refusal(reply.status_code))
        if _code(record) in _QUOTA:
            raise EndpointRefused(f"{self._access.host}: the quota of the key is used up{message}.")
        if reply.status_code == 400 and "max_completion_tokens" in message:
            raise EndpointRefused(
                f"{self._access.host} wants max_completion_tokens: set judge.by.max_tokens=null "
                "judge.by.extra={max_completion_tokens: 2000}."
            )
        if reply.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise EndpointRefused(f"{self._access.host} streams its replies: set judge.by.extra={{stream: false}}.")
        if reply.status_code != 200:
            return f"HTTP {reply.status_code}{message}"
        if record is not None and record.get("error"):
            return f"an error in a reply of status 200{message}"
        if record is not None and not record.get("choices"):
            return "a reply of status 200 without choices"
        return ""

    def _wait(self, attempt: int, retry_after: str | None) -> None:
        """Sleep before the next attempt: exponentially longer, or as the server asks, but never above the maximum."""
        seconds = self._back_off * 2**attempt + random.uniform(0, self._back_off)
        if retry_after is not None:
            with suppress(InvalidHeader):
                seconds = Retry().parse_retry_after(retry_after)
        pause = min(seconds, self._backoff_max)
        if seconds > _WORTH_SAYING:
            limit = f" It asks for {seconds:g} s, judge.by.backoff_max allows {pause:g} s." if seconds > pause else ""
            again = f"{self._access.host} is tried again in {pause:.3g} s."
            warnings.warn(again + (limit if retry_after else ""), stacklevel=2)
        time.sleep(pause)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._access.key is not None:
            request.headers["Authorization"] = f"Bearer {self._access.key}"
        return request

    def _refusal(self, status: int) -> str:
        if status in (401, 403):
            return f"{self._access.host} refuses the key (HTTP {status}): set MVA_JUDGE_KEY to one that may use it."
        return (
            f"{self._access.host} has no chat/completions at this address, or no model '{self._access.model}' (HTTP "
            f"{status}): check MVA_JUDGE_URL and MVA_JUDGE_MODEL."
        )

    def _message(self, record: dict[str, Any] | None) -> str:
        error = (record or {}).get("error")
        text = error.get("message") if isinstance(error, dict) else error
        return f": {self._access.without_key(str(text))}"[:200] if text else ""


def _json(reply: requests.Response) -> dict[str, Any] | None:
    try:
        record = reply.json()
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _code(record: dict[str, Any] | None) -> object:
    error = (record or {}).get("error")
    return error.get("code") or error.get("type") if isinstance(error, dict) else None


def _cause(error: BaseException) -> str:
    reason = getattr(error.args[0] if error.args else None, "reason", None) or error
    return type(reason).__name__

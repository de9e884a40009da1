"""One conversation partner behind HTTP: an OpenAI-compatible `chat/completions` endpoint.

Time-outs, lost connections and the statuses in `AGAIN` are tried again by urllib3, with exponential back-off and
jitter, or after the server's Retry-After.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
HOPELESS = (301, 302, 303, 307, 308, 401, 403, 404, 405)
_BACK_OFF_MAXIMUM = 60.0


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

    def without_key(self, said: str | None) -> str | None:
        """Take the key out of what a server says, should it repeat it."""
        return said.replace(self.key, "***") if said and self.key else said

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

    def __init__(self, access: Access, *, connections: int, timeout: float, retries: int, back_off: float) -> None:
        self._access, self._timeout, self._retries = access, timeout, retries
        retry = Retry(
            total=retries, backoff_factor=back_off, backoff_jitter=back_off, backoff_max=_BACK_OFF_MAXIMUM,
            status_forcelist=AGAIN, allowed_methods=None, raise_on_status=False,
        )  # fmt: skip
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections, max_retries=retry))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Send a request; returns the reply's JSON object, or None where the reply is broken.

        Raises:
            EndpointRefused: If no request like this can succeed.
            NoReply: If this one did not, after all retries.
        """
        url = f"{self._access.url}/chat/completions"
        try:
            reply = self._session.post(
                url, json=body, auth=self._sign, timeout=self._timeout, allow_redirects=False
            )  # with `auth`, a .netrc can't put another key in
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            return None
        except requests.exceptions.RequestException as error:
            raise NoReply(f"no reply after {self._retries + 1} attempts ({_cause(error)})") from None
        if reply.status_code in HOPELESS:
            raise EndpointRefused(self._refusal(reply.status_code))
        if reply.status_code != 200:
            raise NoReply(f"HTTP {reply.status_code}{self._message(reply)}")
        try:
            record = reply.json()
        except ValueError:
            return None
        return record if isinstance(record, dict) else None

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

    def _message(self, reply: requests.Response) -> str:
        try:
            said = str(reply.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return ""
        return f": {self._access.without_key(said)}"[:200]


def _cause(error: BaseException) -> str:
    reason = getattr(error.args[0] if error.args else None, "reason", None) or error
    return type(reason).__name__

"""Requests to the tracking server that give up within seconds, and what their failures mean.

MLflow's own requests take their patience from the environment: 7 retries and over 240 s. These say it themselves, so
that a thread can send beside others without touching the environment.
"""

import json
import re
from collections.abc import Mapping
from typing import IO, Any

import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mime_type_utils import _guess_mime_type
from mlflow.utils.proto_json_utils import parse_dict
from mlflow.utils.rest_utils import http_request, verify_rest_response

CONNECT_SECONDS = 3.05
READ_SECONDS = 20.0
READ_SECONDS_A_MEGABYTE = 1.0  # more, for an upload that the server passes on

_PASSWORD = re.compile(r"(?<=:)//[^/@\s]+@")
_BUSY = {408, 425, 429}
_GATEWAY = {0, 502, 503, 504}  # no answer, or that of a proxy whose server is gone
_DENIED = {401, 403, 407}
_FOR_GOOD_WITHOUT_WORDS = {413, 414}  # a proxy's answers, which are not MLflow's JSON


class AwayError(MlflowException):  # type: ignore[misc]  # MLflow has no types
    """The server cannot be reached, or cannot answer now; the same may be sent later.

    Args:
        message: what happened.
        error_code: MLflow's.
        answered: the server itself said so, of this one request.
    """

    def __init__(self, message: str, error_code: int = TEMPORARILY_UNAVAILABLE, *, answered: bool = False) -> None:
        super().__init__(message, error_code=error_code)
        self.answered = answered


class DeniedError(AwayError):
    """The server refuses this user, whatever is sent."""


class DoubtfulError(AwayError):
    """MLflow's BAD_REQUEST: a database without a free connection, or a value that it will never take."""


class Wire:
    """One server.

    Args:
        uri: its address.
        read: seconds that it may take to answer.
    """

    def __init__(self, uri: str, *, read: float = READ_SECONDS) -> None:
        self.uri = uri.rstrip("/")
        self._read = read

    def call(
        self,
        api: Any,
        body: Mapping[str, Any],
        *,
        endpoint: str | None = None,
        retries: int = 0,
        answer: Any = None,
    ) -> Any:
        """MLflow's answer to one of its requests, as the message that `api` defines.

        Args:
            api: the class of the request, in `mlflow.protos.service_pb2`.
            body: as MLflow would send it.
            endpoint: instead of the usual one of `api`.
            retries: after 0, 2, 4, ... seconds.
            answer: the message to fill, if not the usual one of `api`.

        Raises:
            AwayError: there was no answer, or one that says so.
            MlflowException: MLflow's own error; it will say the same again.
        """
        known = RestStore._V3_METHOD_TO_INFO if api in RestStore._V3_APIS else RestStore._METHOD_TO_INFO
        usual, method = known[api]
        where = endpoint or usual
        sent: dict[str, Any] = {"params" if method == "GET" else "json": dict(body) or None}
        response = self._request(where, method, retries=retries, **sent)
        if response.status_code == 204:
            return answer or api.Response()
        message = answer or api.Response()
        parse_dict(json.loads(response.text), message)
        return message

    def put_file(self, root: str, path: str, file: IO[bytes], size: int) -> None:
        """Upload a file below a resolved address of artifacts.

        Raises:
            AwayError, MlflowException: as for `call`.
        """
        self._request(
            f"/{path}",
            "PUT",
            host=root,
            read=self._read + READ_SECONDS_A_MEGABYTE * size / (1 << 20),
            data=file if size else b"",
            extra_headers={"Content-Type": _guess_mime_type(path)},
        )

    def _request(
        self,
        endpoint: str,
        method: str,
        *,
        host: str | None = None,
        read: float | None = None,
        retries: int = 0,
        **sent: Any,
    ) -> requests.Response:
        try:
            response: requests.Response = http_request(
                get_default_host_creds(host or self.uri),
                endpoint,
                method,
                timeout=(CONNECT_SECONDS, read or self._read),
                max_retries=retries,
                backoff_factor=1,
                raise_on_status=False,
                **sent,
            )
        except MlflowException as error:
            raise AwayError(_PASSWORD.sub("//", str(error))) from error
        _check(response, endpoint)
        return response


def failure(status: int, words: str) -> MlflowException:
    """The error that an HTTP status means: AwayError if the same may be sent later."""
    if status in _DENIED:
        return DeniedError(words, PERMISSION_DENIED, answered=True)
    if status >= 500 or status in _BUSY or status == 0:
        return AwayError(words, answered=status not in _GATEWAY)
    return MlflowException(words)


def _check(response: requests.Response, endpoint: str) -> None:
    """Raise what an answer means."""
    status = response.status_code
    if status in (200, 201, 204):
        if response.text.strip() and not _is_json(response.text):
            raise AwayError(
                f"{_PASSWORD.sub('//', str(response.url))} is no tracking server: it answers {response.text[:80]!r}"
            )
        verify_rest_response(response, endpoint, expected_status=status)
        return
    words = f"{endpoint} answered {status}: {response.text.strip()[:300]}"
    if isinstance(failed := failure(status, words), AwayError):
        raise failed
    if not _is_json(response.text) and status not in _FOR_GOOD_WITHOUT_WORDS:
        raise AwayError(words)  # a proxy whose server is gone
    try:
        verify_rest_response(response, endpoint)
    except MlflowException as error:
        if error.error_code == "BAD_REQUEST":
            raise DoubtfulError(str(error), answered=True) from error
        raise


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False

"""All that a Python client of Headwater needs beside the generated code. Copy it."""

from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

TOKEN = "headwater-token"


class Session(grpc.UnaryUnaryClientInterceptor):
    """Sends the token of the last reply with the next call, so that every query sees at least what
    this session has written and seen before.

    One session is one flow of calls, such as one user's request. Calls that run at the same time
    need a session each: of two replies the older one may come last.
    """

    def __init__(self, token=""):
        self.token = token

    def intercept_unary_unary(self, continuation, details, request):
        metadata = list(details.metadata or ())
        if self.token and all(name != TOKEN for name, _ in metadata):
            metadata.append((TOKEN, self.token))
        call = continuation(_Details(details, metadata), request)
        # Waits for the end of the call. A reply carries the token in front of its message, a
        # NOT_FOUND, which is dated too, behind it.
        for name, value in (*call.initial_metadata(), *call.trailing_metadata()):
            if name == TOKEN:
                self.token = value
        return call


class _Details(grpc.ClientCallDetails):
    """The details of a call with other metadata."""

    def __init__(self, details, metadata):
        self.method = details.method
        self.timeout = details.timeout
        self.metadata = metadata
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class Problem(NamedTuple):
    """Why a call was refused; docs/errors.md lists every domain and reason."""

    code: grpc.StatusCode
    domain: str
    reason: str
    facts: dict  # Such as current_version.
    fields: dict  # What is wrong with each field of the request.
    retry_after: float | None  # Seconds; None if trying again is not known to help.


def problem_of(error):
    """Decodes the details of a grpc.RpcError."""
    domain, reason, facts, fields, retry_after = "", "", {}, {}, None
    status = rpc_status.from_call(error)
    info, request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status.details if status else ():
        if detail.Unpack(info):
            domain, reason, facts = info.domain, info.reason, dict(info.metadata)
        elif detail.Unpack(request):
            fields = {wrong.field: wrong.description for wrong in request.field_violations}
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return Problem(error.code(), domain, reason, facts, fields, retry_after)

"""The routes. Thin: shapes in, the port's answer out, a refusal as its rule and one sentence."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from sightglass.api.answers import (
    DoctorAnswer,
    GuardsAnswer,
    ReceiptsAnswer,
    Refused,
    StatusAnswer,
    VerifyAnswer,
    WindowAnswer,
)
from sightglass.api.bounded import MOST_BODY, Bounded
from sightglass.api.port import AgentPort, Caller, OpenRequest, StatusView
from sightglass.api.shapes import Camera, CloseBody, OpenBody, SwitchBody
from sightglass.metrics import MEDIA_TYPE
from sightglass.receipts import HEAD
from sightglass.refusal import Refusal
from sightglass.sentence import sentence
from sightglass.who import OPERATORS as OPERATORS

_REFUSALS = {
    403: "The caller may not do this.",
    404: "There is no such window.",
    409: "A rule says no.",
    413: "The body is longer than anything that could be meant.",
    422: "The request is not as it must be, or more than this site allows.",
    500: "The agent failed at this, and its log says where: what became of it, the status says.",
    503: "Too many requests wait for the agent.",
    504: "It takes longer than it may: what became of it, the status says.",
    507: "There is no room for a receipt.",
}

# Named one by one: FastAPI would take them for text like the answer.
_REFUSALS_OF_TEXT: dict[int | str, dict[str, Any]] = {
    status: {
        "description": why,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}},
    }
    for status, why in _REFUSALS.items()
}


def caller_of(request: Request) -> Caller:
    """Who is at the other end: put there by the connection's protocol, from the kernel."""
    caller = request.scope.get("state", {}).get("caller")
    if not isinstance(caller, Caller):
        raise Refusal("nobody", "the caller is not known", 403)
    return caller


def operator(request: Request) -> Caller:
    """A caller who may change something."""
    caller = caller_of(request)
    if not _may(caller):
        raise Refusal("not-an-operator", f"{caller.user} is not in the group {OPERATORS}", 403)
    return caller


def _may(caller: Caller) -> bool:
    return caller.uid == 0 or OPERATORS in caller.groups


def _nameless(status: StatusView) -> StatusView:
    """What a local user who is no operator is told: how things are, and of nobody who it was."""
    window, last = (
        view and dataclasses.replace(view, opened_by=None, viewers=()) for view in (status.window, status.last)
    )
    marks = [{key: value for key, value in mark.items() if key in ("cause", "at")} for mark in status.disabled]
    return dataclasses.replace(status, window=window, last=last, disabled=marks)


def known(request: Request) -> None:
    """A misspelt parameter is refused: `cameras=cam1` would have asked about every camera."""
    route = request.scope["route"]
    names = {field.alias for field in route.dependant.query_params}
    unknown = next((name for name in request.query_params if name not in names), None)
    if unknown is not None:
        raise Refusal("bad-request", sentence({"loc": (unknown,), "type": "extra_forbidden"}), 422)


Operator = Annotated[Caller, Depends(operator)]
Anyone = Annotated[Caller, Depends(caller_of)]


def make(port: AgentPort) -> FastAPI:
    """The application over one port."""
    # No /openapi.json: docs/openapi.json says the same, and every answer here carries the chain.
    app = FastAPI(
        title="Sightglass agent",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(known)],
        # Who asked for what is in the receipts, and leaves this host in no other way.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses={status: {"model": Refused, "description": why} for status, why in _REFUSALS.items()},
    )
    app.add_middleware(Bounded)

    def answer(value: Any) -> JSONResponse:
        fields = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        return JSONResponse({**fields, "chain": dataclasses.asdict(port.chain())})

    def no(code: str, message: str, status: int) -> JSONResponse:
        return JSONResponse({"code": code, "message": message, "chain": dataclasses.asdict(port.chain())}, status)

    @app.exception_handler(Refusal)
    async def refused(_request: Request, refusal: Refusal) -> JSONResponse:
        return no(refusal.code, refusal.message, refusal.status)

    @app.exception_handler(RequestValidationError)
    async def bad(_request: Request, error: RequestValidationError) -> JSONResponse:
        fault: Any = error.errors()[0]
        return no("bad-request", sentence(fault, skip=2 if fault["type"] == "json_invalid" else 1), 422)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code in (404, 405):
            return no("bad-request", f"there is no {request.method} of this path", error.status_code)
        if error.status_code == 413:
            return no("bad-request", f"the body: must have at most {MOST_BODY} bytes", 413)
        return no("bad-request", "the body: must be JSON that can be read", 422)

    @app.exception_handler(Exception)
    async def fault(_request: Request, error: Exception) -> JSONResponse:
        # The log has the trace; an opening that failed so is not known to have changed nothing.
        return no("fault", f"the agent failed at this: {type(error).__name__}", 500)

    @app.get("/v1/status", response_model=StatusAnswer)
    async def status(caller: Anyone) -> JSONResponse:
        found = await port.status()
        return answer(found if _may(caller) else _nameless(found))

    @app.post("/v1/windows", response_model=WindowAnswer)
    async def open_window(body: OpenBody, caller: Operator) -> JSONResponse:
        request = OpenRequest(
            request_id=body.request_id,
            cameras=tuple(body.cameras),
            minutes=body.minutes,
            reason=body.reason,
            purpose=body.purpose,
            viewers=tuple(body.viewers),
            privacy=body.privacy,
            claimed_name=body.claimed_name,
        )
        return answer(await port.open(request, caller))

    @app.post("/v1/windows/close", response_model=WindowAnswer)
    async def close_window(body: CloseBody, caller: Operator) -> JSONResponse:
        return answer(await port.close(body.window, body.reason, caller, body.claimed_name))

    @app.post("/v1/disable", response_model=StatusAnswer)
    async def disable(body: SwitchBody, caller: Operator) -> JSONResponse:
        done = await port.disable(body.reason, caller, fleet=body.fleet, claimed_name=body.claimed_name)
        return answer(done)

    @app.post("/v1/enable", response_model=StatusAnswer)
    async def enable(body: SwitchBody, caller: Operator) -> JSONResponse:
        done = await port.enable(body.reason, caller, fleet=body.fleet, claimed_name=body.claimed_name)
        return answer(done)

    @app.get("/v1/guards", response_model=GuardsAnswer)
    async def guards(
        _caller: Anyone,
        camera: Annotated[list[Camera], Query(max_length=4)] = [],  # noqa: B006 - FastAPI copies it for each request
        purpose: Literal["alignment", "debug"] = "alignment",
    ) -> JSONResponse:
        found = await port.guards(tuple(camera), purpose)
        return answer({"guards": [dataclasses.asdict(guard) for guard in found]})

    @app.get("/v1/doctor", response_model=DoctorAnswer)
    async def doctor(_caller: Operator) -> JSONResponse:
        return answer({"findings": [dataclasses.asdict(finding) for finding in await port.doctor()]})

    @app.get("/v1/metrics", response_class=PlainTextResponse, responses=_REFUSALS_OF_TEXT)
    async def metrics(_caller: Anyone) -> PlainTextResponse:
        """For Prometheus; the one answer without the chain's head, of which it has the number."""
        return PlainTextResponse(await port.metrics(), media_type=MEDIA_TYPE)

    @app.get("/v1/receipts", response_model=ReceiptsAnswer)
    async def receipts(
        _caller: Operator, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> JSONResponse:
        return answer({"events": await port.receipts(after, limit)})

    @app.get("/v1/receipts/verify", response_model=VerifyAnswer)
    async def verify(
        _caller: Anyone, known: Annotated[str | None, Query(pattern=f"^{HEAD.pattern}$")] = None
    ) -> JSONResponse:
        return answer(await port.verify(known))

    return app

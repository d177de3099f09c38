"""The routes. Thin: shapes in, the port's answer out, a refusal as its rule and one sentence."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from sightglass.api.port import AgentPort, Caller, OpenRequest
from sightglass.api.shapes import CloseBody, OpenBody, SwitchBody
from sightglass.refusal import Refusal

OPERATORS = "sightglass-operators"


def caller_of(request: Request) -> Caller:
    """Who is at the other end: put there by the connection's protocol, from the kernel."""
    caller = request.scope.get("state", {}).get("caller")
    if not isinstance(caller, Caller):
        raise Refusal("nobody", "the caller is not known", 403)
    return caller


def operator(request: Request) -> Caller:
    """A caller who may change something."""
    caller = caller_of(request)
    if caller.uid != 0 and OPERATORS not in caller.groups:
        raise Refusal("not-an-operator", f"{caller.user} is not in the group {OPERATORS}", 403)
    return caller


Operator = Annotated[Caller, Depends(operator)]
Anyone = Annotated[Caller, Depends(caller_of)]


def make(port: AgentPort) -> FastAPI:
    """The application over one port."""
    app = FastAPI(title="Sightglass agent", version="1", docs_url=None, redoc_url=None)

    def answer(value: Any) -> JSONResponse:
        fields = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        return JSONResponse({**fields, "chain": dataclasses.asdict(port.chain())})

    @app.exception_handler(Refusal)
    async def refused(_request: Request, refusal: Refusal) -> JSONResponse:
        body = {"code": refusal.code, "message": refusal.message, "chain": dataclasses.asdict(port.chain())}
        return JSONResponse(body, refusal.status)

    @app.exception_handler(RequestValidationError)
    async def bad(_request: Request, error: RequestValidationError) -> JSONResponse:
        body = {"code": "bad-request", "message": sentence(error), "chain": dataclasses.asdict(port.chain())}
        return JSONResponse(body, 422)

    @app.get("/v1/status")
    async def status(_caller: Anyone) -> JSONResponse:
        return answer(await port.status())

    @app.post("/v1/windows")
    async def open_window(body: OpenBody, caller: Operator) -> JSONResponse:
        request = OpenRequest(
            request_id=body.request_id,
            cameras=tuple(body.cameras),
            minutes=body.minutes,
            reason=body.reason,
            purpose=body.purpose,
            viewers=tuple(body.viewers),
            claimed_name=body.claimed_name,
        )
        return answer(await port.open(request, caller))

    @app.post("/v1/windows/close")
    async def close_window(body: CloseBody, caller: Operator) -> JSONResponse:
        return answer(await port.close(body.window, body.reason, caller))

    @app.post("/v1/disable")
    async def disable(body: SwitchBody, caller: Operator) -> JSONResponse:
        return answer(await port.disable(body.reason, caller))

    @app.post("/v1/enable")
    async def enable(body: SwitchBody, caller: Operator) -> JSONResponse:
        return answer(await port.enable(body.reason, caller))

    @app.get("/v1/guards")
    async def guards(
        _caller: Anyone,
        camera: Annotated[list[str], Query(max_length=4)] = [],  # noqa: B006 - FastAPI copies it for each request
        purpose: Literal["alignment", "debug"] = "alignment",
    ) -> JSONResponse:
        found = await port.guards(tuple(camera), purpose)
        return answer({"guards": [dataclasses.asdict(guard) for guard in found]})

    @app.get("/v1/receipts")
    async def receipts(
        _caller: Operator, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> JSONResponse:
        return answer({"events": await port.receipts(after, limit)})

    @app.get("/v1/receipts/verify")
    async def verify(_caller: Anyone) -> JSONResponse:
        return answer(await port.verify())

    return app


def sentence(error: RequestValidationError) -> str:
    """The first thing that is wrong: the field, the rule, the value."""
    first: Any = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    rule = str(first["msg"]).removeprefix("Value error, ")
    rule = rule[:1].lower() + rule[1:]
    if first["type"] in ("missing", "value_error", "json_invalid"):
        return f"{field}: {rule}"
    return f"{field}: {rule}, not {json.dumps(first.get('input'), default=str)[:80]}"

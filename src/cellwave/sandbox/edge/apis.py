"""Which id a cell's HTTP API has: looked up by name in the cell's account, and remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import boto3

from cellwave.fleet.model import Cell

if TYPE_CHECKING:
    from mypy_boto3_apigatewayv2 import ApiGatewayV2Client

# An API that was deleted and made again is found after this long; one that is new, at the next request.
REMEMBER_S = 5.0
ASK_AGAIN_S = 0.5


class Apis:
    """The APIs of each cell by name."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._clients: dict[str, ApiGatewayV2Client] = {}
        self._known: dict[str, tuple[float, dict[str, str]]] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def find(self, cell: Cell, name: str) -> str | None:
        """The id of the cell's API of that name; None when there is none."""
        async with self._asking[cell.name]:
            asked, apis = self._known.get(cell.name, (0.0, {}))
            if time.monotonic() - asked > (REMEMBER_S if name in apis else ASK_AGAIN_S):
                apis = await asyncio.to_thread(self._ask, cell)
                self._known[cell.name] = (time.monotonic(), apis)
        return apis.get(name)

    def _ask(self, cell: Cell) -> dict[str, str]:
        if cell.name not in self._clients:
            self._clients[cell.name] = boto3.Session().client(
                "apigatewayv2",
                region_name=cell.aws_region,
                aws_access_key_id=cell.account,
                aws_secret_access_key=self._secret,
            )
        pages = self._clients[cell.name].get_paginator("get_apis").paginate()
        return {api["Name"]: api["ApiId"] for page in pages for api in page["Items"]}

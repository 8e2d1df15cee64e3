"""HTTP APIs: api, integration, route and stage."""

from __future__ import annotations

import os
from typing import Any

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props


def _endpoint(aws: Aws, api: str, own: str) -> str:
    """Where clients reach an API: through the sandbox's edge when there is one, which speaks for API Gateway here."""
    edge = os.environ.get("CELLWAVE_EDGE_URL")
    return f"{edge}/_api/{aws.account}/{aws.region}/{api}" if edge else own


def _create_api(aws: Aws, new: Props) -> str:
    return str(aws.call("apigatewayv2", "create_api", new)["ApiId"])


def _read_api(aws: Aws, api: str, prior: Props) -> Props | None:
    found = aws.find("apigatewayv2", "get_api", ApiId=api)
    if found is None:
        return None
    return {
        **API.props(found),
        "tags": found.get("Tags", {}),
        "apiEndpoint": _endpoint(aws, api, found["ApiEndpoint"]),
        "arn": f"arn:aws:apigateway:{aws.region}::/apis/{api}",
        "executionArn": aws.arn("execute-api", api),
    }


def _update_api(aws: Aws, api: str, new: Props, old: Props) -> None:
    aws.call("apigatewayv2", "update_api", {"description": "", "version": "", **new}, ApiId=api)
    if "corsConfiguration" in old and "corsConfiguration" not in new:
        aws.call("apigatewayv2", "delete_cors_configuration", ApiId=api)


def _delete_api(aws: Aws, api: str, state: Props) -> None:
    aws.call("apigatewayv2", "delete_api", ApiId=api)


API = ResourceType(
    "aws:apigatewayv2/api:Api",
    inputs="name protocolType apiKeySelectionExpression corsConfiguration description disableExecuteApiEndpoint "
    "routeSelectionExpression version tags",
    outputs="apiEndpoint arn executionArn",
    replaces="protocolType",
    defaults={
        "apiKeySelectionExpression": "$request.header.x-api-key",
        "routeSelectionExpression": "$request.method $request.path",
    },
    tags=tags.API,
    create=_create_api,
    read=_read_api,
    update=_update_api,
    delete=_delete_api,
)


def _part(token: str, noun: str, key: str, **facts: Any) -> ResourceType:
    """A part of an API: `create_<noun>`, `get_<noun>`, `update_<noun>`, `delete_<noun>`, found by the member `key`."""

    def create(aws: Aws, new: Props) -> str:
        return str(aws.call("apigatewayv2", f"create_{noun}", new, kind.rename)[key])

    def read(aws: Aws, ref: str, prior: Props) -> Props | None:
        found = aws.find("apigatewayv2", f"get_{noun}", ApiId=prior["apiId"], **{key: ref})
        return found and {**kind.props(found), "apiId": prior["apiId"]}

    def update(aws: Aws, ref: str, new: Props, old: Props) -> None:
        aws.call(
            "apigatewayv2", f"update_{noun}", {**_taken_back(new, old), **new}, kind.rename, **{key: ref}
        )

    def delete(aws: Aws, ref: str, state: Props) -> None:
        aws.call("apigatewayv2", f"delete_{noun}", ApiId=state["apiId"], **{key: ref})

    kind = ResourceType(
        token,
        **{"scope": "apiId", "create": create, "read": read, "update": update, "delete": delete, **facts},
    )
    return kind


def _taken_back(new: Props, old: Props) -> Props:
    """An empty value for each input that is no longer given: one left out would stay as it was."""
    return {key: type(value)() for key, value in old.items() if key not in new}


INTEGRATION = _part(
    "aws:apigatewayv2/integration:Integration",
    "integration",
    "IntegrationId",
    inputs="apiId integrationType connectionType description integrationMethod integrationUri payloadFormatVersion "
    "requestParameters timeoutMilliseconds",
    filled="integrationMethod",
    rename={"timeoutMilliseconds": "TimeoutInMillis"},
    replaces="apiId integrationType",
    defaults={"connectionType": "INTERNET", "payloadFormatVersion": "1.0", "timeoutMilliseconds": 30000},
)

ROUTE = _part(
    "aws:apigatewayv2/route:Route",
    "route",
    "RouteId",
    inputs="apiId routeKey apiKeyRequired authorizationScopes authorizationType authorizerId operationName target",
    replaces="apiId",
    defaults={"authorizationType": "NONE"},
)


def _read_stage(aws: Aws, name: str, prior: Props) -> Props | None:
    api = prior["apiId"]
    found = aws.find("apigatewayv2", "get_stage", ApiId=api, StageName=name)
    if found is None:
        return None
    own = f"https://{api}.execute-api.{aws.region}.amazonaws.com"
    # A route's settings lie under its key.
    routes = [{"RouteKey": key, **value} for key, value in found.pop("RouteSettings", {}).items()]
    live = {key: value for key, value in found.items() if value not in ({}, [], "")}
    return {
        **STAGE.props({**live, **({"RouteSettings": routes} if routes else {})}),
        "apiId": api,
        "tags": found.get("Tags", {}),
        "arn": f"arn:aws:apigateway:{aws.region}::/apis/{api}/stages/{name}",
        "executionArn": aws.arn("execute-api", f"{api}/{name}"),
        "invokeUrl": f"{_endpoint(aws, api, own)}/{'' if name == '$default' else name}",
    }


def _stage_settings(new: Props) -> Props:
    routes = new.get("routeSettings", ())
    keyed = {item["routeKey"]: {k: v for k, v in item.items() if k != "routeKey"} for item in routes}
    return {**new, "routeSettings": keyed}


def _create_stage(aws: Aws, new: Props) -> str:
    return str(aws.call("apigatewayv2", "create_stage", _stage_settings(new), STAGE.rename)["StageName"])


def _update_stage(aws: Aws, name: str, new: Props, old: Props) -> None:
    settings = {**_taken_back(new, old), **_stage_settings(new)}
    aws.call("apigatewayv2", "update_stage", settings, STAGE.rename)


STAGE = _part(
    "aws:apigatewayv2/stage:Stage",
    "stage",
    "StageName",
    inputs="apiId name accessLogSettings autoDeploy defaultRouteSettings deploymentId description routeSettings "
    "stageVariables tags",
    outputs="arn executionArn invokeUrl",
    filled="deploymentId",
    replaces="apiId name",
    name="name",
    identity="apiId name",
    upsert=lambda aws, new: new["name"],
    tags=tags.API,
    rename={"name": "StageName"},
    create=_create_stage,
    read=_read_stage,
    update=_update_stage,
)

TYPES = (API, INTEGRATION, ROUTE, STAGE)

"""IAM roles and their policies. IAM is global: none of these has a region."""

from __future__ import annotations

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props

_ROLE_NAMES = {"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument", "uniqueId": "RoleId"}


def _create_role(aws: Aws, new: Props) -> str:
    return str(aws.call("iam", "create_role", new, _ROLE_NAMES)["Role"]["RoleName"])


def _read_role(aws: Aws, name: str, prior: Props) -> Props | None:
    found = aws.find("iam", "get_role", RoleName=name)
    if found is None:
        return None
    boundary = found["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return ROLE.props({**found["Role"], "PermissionsBoundary": boundary})


def _update_role(aws: Aws, name: str, new: Props, old: Props) -> None:
    if new["assumeRolePolicy"] != old["assumeRolePolicy"]:
        aws.call("iam", "update_assume_role_policy", RoleName=name, PolicyDocument=new["assumeRolePolicy"])
    aws.call("iam", "update_role_description", RoleName=name, Description=new.get("description", ""))
    aws.call("iam", "update_role", RoleName=name, MaxSessionDuration=new["maxSessionDuration"])
    if new.get("permissionsBoundary") != old.get("permissionsBoundary"):
        if "permissionsBoundary" in new:
            arn = new["permissionsBoundary"]
            aws.call("iam", "put_role_permissions_boundary", RoleName=name, PermissionsBoundary=arn)
        else:
            aws.call("iam", "delete_role_permissions_boundary", RoleName=name)


def _delete_role(aws: Aws, name: str, state: Props) -> None:
    if state.get("forceDetachPolicies"):
        for policy in aws.call("iam", "list_attached_role_policies", RoleName=name)["AttachedPolicies"]:
            aws.call("iam", "detach_role_policy", RoleName=name, PolicyArn=policy["PolicyArn"])
        for policy in aws.call("iam", "list_role_policies", RoleName=name)["PolicyNames"]:
            aws.call("iam", "delete_role_policy", RoleName=name, PolicyName=policy)
    aws.call("iam", "delete_role", RoleName=name)


ROLE = ResourceType(
    "aws:iam/role:Role",
    inputs="name assumeRolePolicy description forceDetachPolicies maxSessionDuration path permissionsBoundary tags",
    outputs="arn createDate uniqueId",
    local="forceDetachPolicies",
    replaces="name path",
    name="name",
    defaults={"maxSessionDuration": 3600, "path": "/"},
    tags=tags.ROLE,
    rename=_ROLE_NAMES,
    create=_create_role,
    read=_read_role,
    update=_update_role,
    delete=_delete_role,
)


def _policy_id(aws: Aws, new: Props) -> str:
    return f"{new['role']}:{new['name']}"


def _put_policy(aws: Aws, ref: str, new: Props, old: Props) -> None:
    names = {"role": "RoleName", "name": "PolicyName", "policy": "PolicyDocument"}
    aws.call("iam", "put_role_policy", new, names)


def _read_policy(aws: Aws, ref: str, prior: Props) -> Props | None:
    role, name = ref.split(":", 1)
    found = aws.find("iam", "get_role_policy", RoleName=role, PolicyName=name)
    return found and ROLE_POLICY.props({"role": role, "name": name, "policy": found["PolicyDocument"]})


def _delete_policy(aws: Aws, ref: str, state: Props) -> None:
    role, name = ref.split(":", 1)
    aws.call("iam", "delete_role_policy", RoleName=role, PolicyName=name)


ROLE_POLICY = ResourceType(
    "aws:iam/rolePolicy:RolePolicy",
    inputs="role name policy",
    replaces="role name",
    name="name",
    identity="role name",
    upsert=_policy_id,
    read=_read_policy,
    update=_put_policy,
    delete=_delete_policy,
)


def _attachment_id(aws: Aws, new: Props) -> str:
    return f"{new['role']}/{new['policyArn']}"


def _attach(aws: Aws, new: Props) -> str:
    aws.call("iam", "attach_role_policy", new, {"role": "RoleName"})
    return _attachment_id(aws, new)


def _read_attachment(aws: Aws, ref: str, prior: Props) -> Props | None:
    role, arn = ref.split("/", 1)
    found = aws.find("iam", "list_attached_role_policies", RoleName=role) or {"AttachedPolicies": []}
    there = any(policy["PolicyArn"] == arn for policy in found["AttachedPolicies"])
    return {"role": role, "policyArn": arn} if there else None


def _detach(aws: Aws, ref: str, state: Props) -> None:
    role, arn = ref.split("/", 1)
    aws.call("iam", "detach_role_policy", RoleName=role, PolicyArn=arn)


ATTACHMENT = ResourceType(
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    inputs="role policyArn",
    replaces="role policyArn",
    identity="role policyArn",
    upsert=_attachment_id,
    create=_attach,
    read=_read_attachment,
    delete=_detach,
)

TYPES = (ROLE, ROLE_POLICY, ATTACHMENT)

"""Tables: what is known of AWS's actions and of the engine's resource types. What is in none of them is not known.

Actions: docs.aws.amazon.com/service-authorization. Types: those of pulumi_aws 7.
"""

from __future__ import annotations

# An action is one that reads when its name begins so.
READS = (
    "batchget", "describe", "filter", "get", "head", "list", "lookup", "query", "read", "scan", "search",
    "select", "view",
)  # fmt: skip
GIVES_CREDENTIALS = (
    "sts:getdelegatedaccesstoken", "sts:getfederationtoken", "sts:getsessiontoken", "sts:getwebidentitytoken",
)  # fmt: skip
# Actions that write data, or use a key or a function, and change nothing of what was deployed, by service.
DATA_WRITES: dict[str, frozenset[str]] = {
    service: frozenset(actions.split())
    for service, actions in {
        "aoss": "apiaccessall",
        "bedrock": "invokemodel invokemodelwithresponsestream",
        "cloudwatch": "putmetricdata",
        "dynamodb": "putitem updateitem deleteitem batchwriteitem conditioncheckitem partiqlinsert partiqlupdate "
        "partiqldelete partiqlselect",
        "es": "eshttpget eshttphead eshttppost eshttpput eshttppatch eshttpdelete",
        "events": "putevents",
        "execute-api": "invoke manageconnections",
        "firehose": "putrecord putrecordbatch",
        "kinesis": "putrecord putrecords subscribetoshard",
        "kms": "encrypt decrypt reencryptfrom reencryptto generatedatakey generatedatakeywithoutplaintext "
        "generatedatakeypair generatedatakeypairwithoutplaintext generatemac verifymac sign verify generaterandom "
        "derivesharedsecret",
        "lambda": "invokefunction invokeasync",
        "logs": "createlogstream putlogevents",
        "rds-data": "executestatement batchexecutestatement begintransaction committransaction rollbacktransaction",
        "rds-db": "connect",
        "s3": "putobject deleteobject deleteobjectversion putobjecttagging putobjectversiontagging "
        "deleteobjecttagging deleteobjectversiontagging putobjectretention putobjectlegalhold abortmultipartupload "
        "restoreobject",
        "ses": "sendemail sendrawemail sendtemplatedemail sendbulkemail",
        "sns": "publish",
        "sqs": "sendmessage receivemessage deletemessage changemessagevisibility",
        "states": "startexecution startsyncexecution stopexecution sendtasksuccess sendtaskfailure sendtaskheartbeat",
        "sts": "assumerole tagsession setsourceidentity",
        "xray": "puttracesegments puttelemetryrecords",
    }.items()
}
# Actions that read or write data, and can name no resource, or only what lies in the caller's account, by service.
WITHOUT_RESOURCE: dict[str, frozenset[str]] = {
    service: frozenset(actions.split())
    for service, actions in {
        "application-autoscaling": "describe*",
        "autoscaling": "describe*",
        "bedrock": "listfoundationmodels listinferenceprofiles",
        "cloudwatch": "putmetricdata getmetricdata getmetricstatistics getmetricwidgetimage listmetrics listdashboards "
        "describealarms describealarmsformetric describeanomalydetectors",
        "dynamodb": "listtables listbackups listexports listimports liststreams describelimits describeendpoints",
        "ec2": "describe*",
        "ecr": "getauthorizationtoken",
        "ecs": "listclusters listtaskdefinitions listtaskdefinitionfamilies describetaskdefinition",
        "elasticache": "describe*",
        "elasticloadbalancing": "describe*",
        "events": "listeventbuses listrules",
        "kinesis": "liststreams describelimits",
        "kms": "generaterandom listkeys listaliases",
        "lambda": "getaccountsettings listfunctions listlayers listeventsourcemappings",
        "logs": "describeloggroups describequeries describequerydefinitions describedestinations",
        "rds": "describe*",
        "s3": "listallmybuckets",
        "secretsmanager": "getrandompassword listsecrets batchgetsecretvalue",
        "ses": "getsendquota getsendstatistics",
        "sns": "listtopics listsubscriptions",
        "sqs": "listqueues",
        "ssm": "describeparameters",
        "states": "listactivities liststatemachines",
        "sts": "getcalleridentity",
        "tag": "getresources gettagkeys gettagvalues",
        "xray": "puttracesegments puttelemetryrecords get* batchget* list*",
    }.items()
}
# AWS's own policies that allow no more than such actions, and what their function's log or network interface needs.
PLAIN_POLICIES = frozenset(
    {
        "service-role/AWSLambdaBasicExecutionRole", "service-role/AWSLambdaVPCAccessExecutionRole",
        "service-role/AWSLambdaSQSQueueExecutionRole", "service-role/AWSLambdaDynamoDBExecutionRole",
        "service-role/AWSLambdaKinesisExecutionRole", "AWSXRayDaemonWriteAccess",
        "CloudWatchLambdaInsightsExecutionRolePolicy",
    }
)  # fmt: skip


def _types(table: dict[str, str]) -> dict[str, str]:
    """By type, as the engine has it: `aws:s3/bucket:Bucket` for `bucket` of `s3`."""
    return {
        f"aws:{module}/{name}:{name[0].upper()}{name[1:]}": module
        for module, names in table.items()
        for name in names.split()
    }


# Types that copy what a cell keeps to elsewhere.
REPLICATES = frozenset(
    _types(
        {
            "docdb": "globalCluster",
            "dsql": "clusterPeering",
            "dynamodb": "globalTable tableReplica",
            "ebs": "snapshotCopy volumeCopy",
            "ec2": "amiCopy",
            "ecr": "replicationConfiguration",
            "efs": "replicationConfiguration",
            "elasticache": "globalReplicationGroup",
            "kms": "replicaKey replicaExternalKey",
            "memorydb": "multiRegionCluster",
            "msk": "replicator",
            "neptune": "globalCluster",
            "rds": "globalCluster clusterSnapshotCopy snapshotCopy instanceAutomatedBackupsReplication",
            "redshift": "snapshotCopy",
            "s3": "bucketReplicationConfig",
            "s3control": "multiRegionAccessPoint",
            "s3tables": "tableBucketReplication tableReplication",
            "sesv2": "multiRegionEndpoint",
            "ssmincidents": "replicationSet",
        }
    )
)
# Inputs that do the same, wherever they stand in a resource of AWS's.
REPLICATING = frozenset(
    {
        "copyActions", "globalClusterIdentifier", "globalReplicationGroupId", "multiRegion", "multiRegionProperties",
        "replicaRegions", "replicas", "replicateSourceDb", "replicationConfiguration", "replicationConfigurations",
        "replicationSourceIdentifier",
    }
)  # fmt: skip
# Types that open a way to another network, account or provider.
WAYS_OUT = frozenset(
    _types(
        {
            "cloudwatch": "eventApiDestination eventConnection metricStream logDestination",
            "datasync": "task",
            "directconnect": "connection gateway",
            "ec2": "vpcPeeringConnection vpcPeeringConnectionAccepter peeringConnectionOptions amiLaunchPermission "
            "snapshotCreateVolumePermission vpnConnection customerGateway vpcEndpointService internetGateway "
            "egressOnlyInternetGateway natGateway",
            "ec2transitgateway": "transitGateway peeringAttachment peeringAttachmentAccepter vpcAttachment "
            "vpcAttachmentAccepter",
            "kinesis": "firehoseDeliveryStream",
            "networkmanager": "transitGatewayPeering coreNetwork",
            "oam": "link sink",
            "ram": "resourceShare principalAssociation resourceAssociation",
            "redshift": "dataShareAuthorization endpointAuthorization",
            "transfer": "server connector",
            "vpclattice": "serviceNetwork",
        }
    )
)
# Types that the rules on ARNs, accounts, policies, principals and replication say enough about.
REVIEWED = frozenset(
    _types(
        {
            "acm": "certificate certificateValidation",
            "apigateway": "restApi resource method integration deployment stage methodSettings methodResponse "
            "integrationResponse authorizer apiKey usagePlan usagePlanKey domainName basePathMapping account "
            "model requestValidator restApiPolicy",
            "apigatewayv2": "api integration route stage deployment authorizer domainName apiMapping model "
            "integrationResponse routeResponse vpcLink",
            "appautoscaling": "target policy scheduledAction",
            "appconfig": "application environment configurationProfile deployment deploymentStrategy "
            "hostedConfigurationVersion",
            "autoscaling": "group policy attachment schedule lifecycleHook",
            "cloudwatch": "compositeAlarm metricAlarm dashboard eventRule eventTarget eventBus eventBusPolicy "
            "eventArchive eventPermission logGroup logStream logMetricFilter logSubscriptionFilter "
            "logResourcePolicy queryDefinition",
            "cognito": "userPool userPoolClient userPoolDomain resourceServer userGroup",
            "dynamodb": "table tableItem resourcePolicy kinesisStreamingDestination contributorInsights",
            "ec2": "vpc subnet routeTable routeTableAssociation securityGroup vpcEndpoint instance launchTemplate "
            "networkAcl networkInterface eip flowLog",
            "ecr": "repository repositoryPolicy lifecyclePolicy",
            "ecs": "cluster service taskDefinition clusterCapacityProviders capacityProvider",
            "efs": "fileSystem mountTarget accessPoint fileSystemPolicy backupPolicy",
            "elasticache": "cluster replicationGroup subnetGroup parameterGroup serverlessCache user userGroup",
            "iam": "role rolePolicy rolePolicyAttachment rolePoliciesExclusive policy policyAttachment instanceProfile "
            "user userPolicy userPolicyAttachment group groupPolicy groupPolicyAttachment",
            "kinesis": "stream streamConsumer resourcePolicy",
            "kms": "key alias grant keyPolicy",
            "lambda": "function alias permission eventSourceMapping invocation layerVersion layerVersionPermission "
            "functionUrl functionEventInvokeConfig provisionedConcurrencyConfig codeSigningConfig",
            "lb": "loadBalancer listener listenerRule targetGroup targetGroupAttachment listenerCertificate",
            "opensearch": "domain domainPolicy",
            "pipes": "pipe",
            "rds": "cluster clusterInstance instance subnetGroup parameterGroup clusterParameterGroup proxy "
            "proxyTarget proxyDefaultTargetGroup snapshot",
            "s3": "bucket bucketAcl bucketCorsConfiguration bucketLifecycleConfiguration bucketLogging bucketMetric "
            "bucketNotification bucketObject bucketObjectLockConfiguration bucketObjectv2 bucketOwnershipControls "
            "bucketPolicy bucketPublicAccessBlock bucketServerSideEncryptionConfiguration bucketVersioning "
            "bucketIntelligentTieringConfiguration",
            "scheduler": "schedule scheduleGroup",
            "secretsmanager": "secret secretVersion secretPolicy secretRotation",
            "servicediscovery": "service privateDnsNamespace instance",
            "sfn": "stateMachine activity alias",
            "signer": "signingProfile",
            "sns": "topic topicPolicy topicSubscription",
            "sqs": "queue queuePolicy redrivePolicy redriveAllowPolicy",
            "ssm": "parameter",
            "wafv2": "webAcl webAclAssociation ipSet ruleGroup webAclLoggingConfiguration",
            "xray": "group samplingRule",
        }
    )
)
# Packages whose resources make nothing outside of the engine's state.
PLAIN_PACKAGES = frozenset({"archive", "pulumi", "random", "std", "time", "tls"})

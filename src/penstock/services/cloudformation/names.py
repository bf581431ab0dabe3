"""Names of AWS's resource types: tells a type that is not built from one that is none."""

from typing import Final

# Of the services that Penstock has, every type; of the others, the service.
_TYPES: Final = """
    ApiGateway: Account ApiKey Authorizer BasePathMapping BasePathMappingV2 ClientCertificate
        Deployment DocumentationPart DocumentationVersion DomainName DomainNameAccessAssociation
        DomainNameV2 GatewayResponse Method Model RequestValidator Resource RestApi Stage
        UsagePlan UsagePlanKey VpcLink
    CDK: Metadata
    CloudFormation: ChangeSet CustomResource GeneratedTemplate GuardHook HookDefaultVersion
        HookTypeConfig HookVersion LambdaHook Macro ModuleDefaultVersion ModuleVersion
        PublicTypeVersion Publisher ResourceDefaultVersion ResourceVersion Stack StackSet
        TypeActivation WaitCondition WaitConditionHandle
    DynamoDB: Backup GlobalTable Table
    Events: ApiDestination Archive Connection Endpoint EventBus EventBusPolicy Rule
    IAM: AccessKey Group GroupPolicy InstanceProfile ManagedPolicy OIDCProvider Policy Role
        RolePolicy SAMLProvider ServerCertificate ServiceLinkedRole User UserPolicy
        UserToGroupAddition VirtualMFADevice
    Lambda: Alias CapacityProvider CodeSigningConfig EventInvokeConfig EventSourceMapping
        Function LayerVersion LayerVersionPermission MicrovmImage NetworkConnector Permission
        ResourcePolicy Url Version WebFunction WebFunctionEndpoint WebFunctionRevision
    Logs: AccountPolicy Delivery DeliveryDestination DeliverySource Destination Integration
        LogAnomalyDetector LogGroup LogStream MetricFilter QueryDefinition ResourcePolicy
        ScheduledQuery StorageTierPolicy SubscriptionFilter Transformer
    Pipes: Pipe
    S3: AccessGrant AccessGrantsInstance AccessGrantsLocation AccessPoint Bucket BucketPolicy
        MultiRegionAccessPoint MultiRegionAccessPointPolicy StorageLens StorageLensGroup
    SNS: Subscription Topic TopicInlinePolicy TopicPolicy
    SQS: Queue QueueInlinePolicy QueuePolicy
    SSM: Association CloudConnector Document MaintenanceWindow MaintenanceWindowTarget
        MaintenanceWindowTask OpsItem Parameter PatchBaseline ResourceDataSync ResourcePolicy
        ServiceSetting
    Scheduler: Schedule ScheduleGroup
"""
_SERVICES: Final = """
    ACMPCA AIOps APS ARCRegionSwitch ARCZonalShift AWSExternalAnthropic AccessAnalyzer
    AccountAccess AgentRegistry AmazonMQ Amplify AmplifyUIBuilder ApiGatewayV2 AppConfig
    AppFabric AppFlow AppIntegrations AppMesh AppRunner AppStream AppSync AppTest
    ApplicationAutoScaling ApplicationInsights ApplicationSignals Athena AuditManager
    AutoScaling AutoScalingPlans B2BI BCM BCMDataExports Backup BackupGateway Batch
    BcmPricingCalculator Bedrock BedrockAgentCore BedrockMantle Billing BillingConductor Braket
    Budgets CE CUR Cases Cassandra CertificateManager Chatbot Chime CleanRooms CleanRoomsML
    Cloud9 CloudFront CloudHSM CloudTrail CloudWatch CodeArtifact CodeBuild CodeCommit
    CodeConnections CodeDeploy CodeGuruProfiler CodeGuruReviewer CodePipeline CodeStar
    CodeStarConnections CodeStarNotifications Cognito Comprehend ComputeOptimizer Config Connect
    ConnectCampaigns ConnectCampaignsV2 ControlTower CustomerProfiles DAX DLM DMS DRS DSQL
    DataBrew DataExchange DataPipeline DataSync DataZone Deadline Detective DevOpsAgent
    DevOpsGuru DeviceFarm DirectConnect DirectoryService DocDB DocDBElastic EC2 ECR ECS EFS EKS
    EMR EMRContainers EMRServerless EVS ElastiCache ElasticBeanstalk ElasticLoadBalancing
    ElasticLoadBalancingV2 Elasticsearch ElementalInference EntityResolution EventSchemas
    EventsV2 Evidently FIS FMS FSx FinSpace Forecast FraudDetector GameLift GameLiftStreams
    GlobalAccelerator Glue Grafana Greengrass GreengrassV2 GroundStation GuardDuty HealthAgent
    HealthImaging HealthLake IVS IVSChat IdentityStore ImageBuilder Inspector InspectorV2
    Interconnect InternetMonitor Invoicing IoT IoTAnalytics IoTCoreDeviceAdvisor IoTEvents
    IoTFleetWise IoTManagedIntegrations IoTSecureTunneling IoTSiteWise IoTThingsGraph
    IoTTwinMaker IoTWireless KMS KafkaConnect Kendra KendraRanking Kinesis KinesisAnalytics
    KinesisAnalyticsV2 KinesisFirehose KinesisVideo LakeFormation LaunchWizard Lex
    LicenseManager LicenseManagerLinuxSubscriptions LicenseManagerUserSubscriptions Lightsail
    Location LookoutEquipment LookoutVision M2 MGN MPA MSK MWAA MWAAServerless Macie
    ManagedBlockchain MediaConnect MediaConvert MediaLive MediaPackage MediaPackageV2 MediaStore
    MediaTailor MemoryDB Neptune NeptuneGraph NetworkFirewall NetworkFlowMonitor NetworkManager
    NetworkMonitor NetworkSecurityManager NimbleStudio Notifications NotificationsContacts
    NovaAct ODB OSIS Oam ObservabilityAdmin Omics OpenSearch OpenSearchServerless
    OpenSearchService OpsWorks Organizations Outposts PCAConnectorAD PCAConnectorSCEP PCS
    Panorama PaymentCryptography Personalize Pinpoint PinpointEmail Polly PricingPlanManager
    Proton QBusiness QLDB QuickSight RAM RDS RTBFabric RUM Rbin Redshift RedshiftServerless
    RefactorSpaces Rekognition ResilienceHub ResilienceHubV2 ResourceExplorer2 ResourceGroups
    RoboMaker RolesAnywhere Route53 Route53GlobalResolver Route53Profiles Route53RecoveryControl
    Route53RecoveryReadiness Route53Resolver S3Express S3Files S3ObjectLambda S3Outposts
    S3Tables S3Vectors SCN SDB SES SMSVOICE SSMContacts SSMGuiConnect SSMIncidents SSMQuickSetup
    SSO SageMaker SecretsManager SecurityAgent SecurityHub SecurityLake ServerlessRepo
    ServiceCatalog ServiceCatalogAppRegistry ServiceDiscovery Shield Signer SimSpaceWeaver
    StepFunctions StorageGateway SupportApp SupportAuthZ Synthetics SystemsManagerSAP Textract
    Timestream Transcribe Transfer Translate VerifiedPermissions VoiceID VpcLattice WAF
    WAFRegional WAFv2 WellArchitected Wickr Wisdom WorkSpaces WorkSpacesThinClient WorkSpacesWeb
    WorkspacesInstances XRay
"""


def _known() -> dict[str, frozenset[str]]:
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for word in _TYPES.split():
        if word.endswith(":"):
            names = found.setdefault(word.removesuffix(":"), [])
        else:
            names.append(word)
    return {service: frozenset(names) for service, names in found.items()}


_KNOWN: Final = _known()
_UNBUILT: Final = frozenset(_SERVICES.split())


def is_aws_type(name: str) -> bool:
    """Whether AWS has, or may have, a resource type of this name."""
    if name.startswith("Custom::"):
        return True
    parts = name.split("::")
    if len(parts) != 3 or parts[0] != "AWS":
        return False
    _, service, kind = parts
    return kind in _KNOWN[service] if service in _KNOWN else service in _UNBUILT

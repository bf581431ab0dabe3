"""Properties of the resource types of Lambda, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

ALIAS: Final = record("""
    Description, FunctionName!, FunctionVersion!, Name!
    ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions!: Integer},
    RoutingConfig: {AdditionalVersionWeights: [{FunctionVersion!, FunctionWeight!: Double}]}
""")
EVENT_INVOKE_CONFIG: Final = record("""
    FunctionName!, Qualifier!
    DestinationConfig: {OnFailure: {Destination!}, OnSuccess: {Destination!}},
    MaximumEventAgeInSeconds: Integer, MaximumRetryAttempts: Integer
""")
EVENT_SOURCE_MAPPING: Final = record("""
    EventSourceArn, FunctionName!, KmsKeyArn, StartingPosition
    BatchSize: Integer, BisectBatchOnFunctionError: Boolean,
    DestinationConfig: {OnFailure: {Destination}}, Enabled: Boolean,
    FilterCriteria: {Filters: [{Pattern}]}, FunctionResponseTypes: [String],
    MaximumBatchingWindowInSeconds: Integer, MaximumRecordAgeInSeconds: Integer,
    MaximumRetryAttempts: Integer, MetricsConfig: {Metrics: [String]},
    ParallelizationFactor: Integer,
    ProvisionedPollerConfig: {MaximumPollers: Integer, MinimumPollers: Integer, -PollerGroupName},
    Queues: [String], ScalingConfig: {MaximumConcurrency: Integer},
    StartingPositionTimestamp: Double, Tags: [{Key!, Value}], Topics: [String],
    TumblingWindowInSeconds: Integer
    -AmazonManagedKafkaEventSourceConfig, -DocumentDBEventSourceConfig, -LoggingConfig,
    -SelfManagedEventSource, -SelfManagedKafkaEventSourceConfig, -SourceAccessConfigurations
""")
FUNCTION: Final = record("""
    Description, FunctionName, Handler, KmsKeyArn, PackageType, Role!, Runtime
    Architectures: [String]
    Code!: {
        ImageUri, S3Bucket, S3Key, S3ObjectStorageMode, S3ObjectVersion, SourceKMSKeyArn,
        ZipFile
    }
    DeadLetterConfig: {TargetArn}, Environment: {Variables: {*: String}},
    EphemeralStorage: {Size!: Integer}, Layers: [String],
    LoggingConfig: {ApplicationLogLevel, LogFormat, LogGroup, SystemLogLevel},
    MemorySize: Integer, ReservedConcurrentExecutions: Integer, SnapStart: {ApplyOn!},
    Tags: [{Key!, Value}], Timeout: Integer, TracingConfig: {Mode}
    VpcConfig: {
        Ipv6AllowedForDualStack: Boolean, SecurityGroupIds: [String], SubnetIds: [String]
    }
    -CapacityProviderConfig, -CodeSigningConfigArn, -DurableConfig, -FileSystemConfigs,
    -FunctionScalingConfig, -ImageConfig, -PublishToLatestPublished, -RecursiveLoop,
    -RuntimeManagementConfig, -TenancyConfig
""")
LAYER_VERSION: Final = record("""
    Description, LayerName, LicenseInfo
    CompatibleArchitectures: [String], CompatibleRuntimes: [String],
    Content!: {S3Bucket!, S3Key!, S3ObjectStorageMode, S3ObjectVersion}
""")
LAYER_VERSION_PERMISSION: Final = record("""
    Action!, LayerVersionArn!, OrganizationId, Principal!
""")
PERMISSION: Final = record("""
    Action!, EventSourceToken, FunctionName!, FunctionUrlAuthType, Principal!, PrincipalOrgID,
    SourceAccount, SourceArn
    InvokedViaFunctionUrl: Boolean
""")
URL: Final = record("""
    AuthType!, InvokeMode, Qualifier, TargetFunctionArn!
    Cors: {
        AllowCredentials: Boolean, AllowHeaders: [String], AllowMethods: [String],
        AllowOrigins: [String], ExposeHeaders: [String], MaxAge: Integer
    }
""")
VERSION: Final = record("""
    CodeSha256, Description, FunctionName!
    ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions!: Integer}
    -FunctionScalingConfig, -RuntimePolicy
""")

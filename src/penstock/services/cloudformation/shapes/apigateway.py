"""Properties of the resource types of API Gateway, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

ACCOUNT: Final = record("""
    CloudWatchRoleArn
""")
DEPLOYMENT: Final = record("""
    Description, RestApiId!, StageName
    -DeploymentCanarySettings, -StageDescription
""")
GATEWAY_RESPONSE: Final = record("""
    ResponseType!, RestApiId!, StatusCode
    ResponseParameters: {*: String}, ResponseTemplates: {*: String}
""")
METHOD: Final = record("""
    AuthorizationType, AuthorizerId, HttpMethod!, OperationName, RequestValidatorId, ResourceId!,
    RestApiId!
    ApiKeyRequired: Boolean, AuthorizationScopes: [String]
    Integration: {
        CacheNamespace, ConnectionId, ConnectionType, ContentHandling, Credentials,
        IntegrationHttpMethod, PassthroughBehavior, Type!, Uri
        CacheKeyParameters: [String]
        IntegrationResponses: [{
            ContentHandling, SelectionPattern, StatusCode!
            ResponseParameters: {*: String}, ResponseTemplates: {*: String}
        }]
        RequestParameters: {*: String}, RequestTemplates: {*: String}, TimeoutInMillis: Integer
        -IntegrationTarget, -ResponseTransferMode
    }
,
    MethodResponses: [{StatusCode!, ResponseModels: {*: String}, ResponseParameters: {*: String}}],
    RequestModels: {*: String}, RequestParameters: {*: String}
""")
MODEL: Final = record("""
    ContentType, Description, Name, RestApiId!
    Schema: Json
""")
REQUEST_VALIDATOR: Final = record("""
    Name, RestApiId!
    ValidateRequestBody: Boolean, ValidateRequestParameters: Boolean
""")
RESOURCE: Final = record("""
    ParentId!, PathPart!, RestApiId!
""")
REST_API: Final = record("""
    ApiKeySourceType, Description, Mode, Name
    BinaryMediaTypes: [String], Body: Json, BodyS3Location: {Bucket!, Key!, Version, -ETag},
    DisableExecuteApiEndpoint: Boolean,
    EndpointConfiguration: {IpAddressType, Types: [String], VpcEndpointIds: [String]},
    FailOnWarnings: Boolean, MinimumCompressionSize: Integer, Parameters: {*: String}, Policy: Json,
    Tags: [{Key!, Value!}]
    -CloneFrom, -EndpointAccessMode, -SecurityPolicy, -Version
""")
STAGE: Final = record("""
    CacheClusterSize, DeploymentId, Description, DocumentationVersion, RestApiId!, StageName!
    AccessLogSetting: {DestinationArn, Format}, CacheClusterEnabled: Boolean
    MethodSettings: [{
        HttpMethod, LoggingLevel, ResourcePath
        CacheDataEncrypted: Boolean, CacheTtlInSeconds: Integer, CachingEnabled: Boolean,
        DataTraceEnabled: Boolean, MetricsEnabled: Boolean, ThrottlingBurstLimit: Integer,
        ThrottlingRateLimit: Double
    }]
    Tags: [{Key!, Value!}], TracingEnabled: Boolean, Variables: {*: String}
    -CanarySetting, -ClientCertificateId
""")

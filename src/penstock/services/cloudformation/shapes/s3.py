"""Properties of the resource types of S3, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

BUCKET: Final = record("""
    AccessControl, BucketName
    BucketEncryption: {
        ServerSideEncryptionConfiguration!: [{
            BlockedEncryptionTypes: {EncryptionType: [String]}, BucketKeyEnabled: Boolean,
            ServerSideEncryptionByDefault: {KMSMasterKeyID, SSEAlgorithm!}
        }]
    }
    CorsConfiguration: {
        CorsRules!: [{
            Id
            AllowedHeaders: [String], AllowedMethods!: [String], AllowedOrigins!: [String],
            ExposedHeaders: [String], MaxAge: Integer
        }]
    }
    LifecycleConfiguration: {
        Rules!: [{
            ExpirationDate, Id, Prefix, Status!
            ObjectSizeGreaterThan: Integer, ObjectSizeLessThan: Integer
            AbortIncompleteMultipartUpload: {DaysAfterInitiation!: Integer},
            ExpirationInDays: Integer, ExpiredObjectDeleteMarker: Boolean,
            NoncurrentVersionExpiration: {NewerNoncurrentVersions: Integer, NoncurrentDays!: Integer},
            NoncurrentVersionExpirationInDays: Integer
            NoncurrentVersionTransition: {
                StorageClass!
                NewerNoncurrentVersions: Integer, TransitionInDays!: Integer
            }
            NoncurrentVersionTransitions: [{
                StorageClass!
                NewerNoncurrentVersions: Integer, TransitionInDays!: Integer
            }]
            TagFilters: [{Key!, Value!}],
            Transition: {StorageClass!, TransitionDate, TransitionInDays: Integer},
            Transitions: [{StorageClass!, TransitionDate, TransitionInDays: Integer}]
        }]
        -TransitionDefaultMinimumObjectSize
    }
    NotificationConfiguration: {
        EventBridgeConfiguration: {EventBridgeEnabled!: Boolean},
        LambdaConfigurations: [{Event!, Function!, Filter: {S3Key!: {Rules!: [{Name!, Value!}]}}}],
        QueueConfigurations: [{Event!, Queue!, Filter: {S3Key!: {Rules!: [{Name!, Value!}]}}}],
        TopicConfigurations: [{Event!, Topic!, Filter: {S3Key!: {Rules!: [{Name!, Value!}]}}}]
    }
    OwnershipControls: {Rules!: [{ObjectOwnership}]}
    PublicAccessBlockConfiguration: {
        BlockPublicAcls: Boolean, BlockPublicPolicy: Boolean, IgnorePublicAcls: Boolean,
        RestrictPublicBuckets: Boolean
    }
    Tags: [{Key!, Value!}], VersioningConfiguration: {Status!}
    -AbacStatus, -AccelerateConfiguration, -AnalyticsConfigurations,
    -BucketNamePrefix, -BucketNamespace, -IntelligentTieringConfigurations,
    -InventoryConfigurations, -LoggingConfiguration, -MetadataConfiguration,
    -MetadataTableConfiguration, -MetricsConfigurations, -ObjectLockConfiguration,
    -ObjectLockEnabled, -ReplicationConfiguration, -WebsiteConfiguration
""")
BUCKET_POLICY: Final = record("""
    Bucket!
    PolicyDocument!: Json
""")

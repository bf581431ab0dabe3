"""Properties of the resource types of DynamoDB, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

TABLE: Final = record("""
    BillingMode, TableClass, TableName
    AttributeDefinitions: [{AttributeName!, AttributeType!}], DeletionProtectionEnabled: Boolean
    GlobalSecondaryIndexes: [{
        IndexName!
        KeySchema!: [{AttributeName!, KeyType!}],
        Projection!: {ProjectionType, NonKeyAttributes: [String]},
        ProvisionedThroughput: {ReadCapacityUnits!: Integer, WriteCapacityUnits!: Integer}
        -ContributorInsightsSpecification, -OnDemandThroughput, -WarmThroughput
    }]
    KeySchema!: [{AttributeName!, KeyType!}]
    LocalSecondaryIndexes: [{
        IndexName!
        KeySchema!: [{AttributeName!, KeyType!}],
        Projection!: {ProjectionType, NonKeyAttributes: [String]}
    }]
    ProvisionedThroughput: {ReadCapacityUnits!: Integer, WriteCapacityUnits!: Integer},
    SSESpecification: {KMSMasterKeyId, SSEType, SSEEnabled!: Boolean},
    StreamSpecification: {StreamViewType!, -ResourcePolicy, -Tags}, Tags: [{Key!, Value!}],
    TimeToLiveSpecification: {AttributeName, Enabled!: Boolean}
    -ContributorInsightsSpecification, -ImportSourceSpecification, -KinesisStreamSpecification,
    -OnDemandThroughput, -PointInTimeRecoverySpecification, -ResourcePolicy, -VectorIndexes,
    -WarmThroughput
""")

"""DynamoDB as boto3 sees it: every test would also pass on AWS."""

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="session")
def dynamodb(aws):
    return aws("dynamodb")


def create(dynamodb, name, *, sort=None, **extra):
    attributes = {"id": "S", **extra.pop("attributes", {})}
    schema = [{"AttributeName": "id", "KeyType": "HASH"}]
    if sort:
        attributes["sort"] = sort
        schema.append({"AttributeName": "sort", "KeyType": "RANGE"})
    dynamodb.create_table(
        TableName=name,
        KeySchema=schema,
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": kind}
            for attribute, kind in attributes.items()
        ],
        **{"BillingMode": "PAY_PER_REQUEST", **extra},
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return name


@pytest.fixture
def table(dynamodb, unique):
    yield create(dynamodb, unique)
    dynamodb.delete_table(TableName=unique)


@pytest.fixture
def sorted_table(dynamodb, unique):
    yield create(dynamodb, unique, sort="N")
    dynamodb.delete_table(TableName=unique)


@pytest.fixture
def indexed(dynamodb, unique):
    """A table with a global index that keeps only keys, and a local one that keeps one attribute more."""
    yield create(
        dynamodb,
        unique,
        sort="N",
        attributes={"status": "S", "at": "N"},
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-status",
                "KeySchema": [
                    {"AttributeName": "status", "KeyType": "HASH"},
                    {"AttributeName": "at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by-time",
                "KeySchema": [
                    {"AttributeName": "id", "KeyType": "HASH"},
                    {"AttributeName": "at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["note"]},
            }
        ],
    )
    dynamodb.delete_table(TableName=unique)


def error_of(function, **parameters):
    with pytest.raises(ClientError) as caught:
        function(**parameters)
    return caught.value.response


def message_of(function, **parameters):
    return error_of(function, **parameters)["Error"]["Message"]


def s(text):
    return {"S": text}


def n(number):
    return {"N": str(number)}


def test_a_table_is_described_listed_and_deleted(dynamodb, unique):
    """Deployment tools read these members to decide what to change."""
    create(dynamodb, unique, Tags=[{"Key": "team", "Value": "orders"}])
    described = dynamodb.describe_table(TableName=unique)["Table"]
    assert "ACTIVE" == described["TableStatus"]
    assert "PAY_PER_REQUEST" == described["BillingModeSummary"]["BillingMode"]
    assert [{"AttributeName": "id", "KeyType": "HASH"}] == described["KeySchema"]
    assert described["TableArn"].endswith(f":table/{unique}")
    by_arn = dynamodb.describe_table(TableName=described["TableArn"])["Table"]
    assert described["TableId"] == by_arn["TableId"]
    tags = dynamodb.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"]
    assert [{"Key": "team", "Value": "orders"}] == tags
    assert unique in dynamodb.list_tables(ExclusiveStartTableName=unique[:-1])["TableNames"]
    backups = dynamodb.describe_continuous_backups(TableName=unique)["ContinuousBackupsDescription"]
    assert "DISABLED" == backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    response = error_of(
        dynamodb.create_table,
        TableName=unique,
        KeySchema=described["KeySchema"],
        AttributeDefinitions=described["AttributeDefinitions"],
        BillingMode="PAY_PER_REQUEST",
    )
    assert "ResourceInUseException" == response["Error"]["Code"]
    dynamodb.delete_table(TableName=unique)
    response = error_of(dynamodb.describe_table, TableName=unique)
    assert "ResourceNotFoundException" == response["Error"]["Code"]
    expected = f"Requested resource not found: Table: {unique} not found"
    assert expected == response["Error"]["Message"]


def test_a_table_made_anew_is_empty(dynamodb, unique):
    """Deleting a table deletes its items, also from a table of the same name later."""
    create(dynamodb, unique)
    dynamodb.put_item(TableName=unique, Item={"id": s("a")})
    dynamodb.delete_table(TableName=unique)
    dynamodb.get_waiter("table_not_exists").wait(TableName=unique, WaiterConfig={"Delay": 1})
    create(dynamodb, unique)
    assert 0 == dynamodb.scan(TableName=unique)["Count"]
    dynamodb.delete_table(TableName=unique)


def test_definitions_must_match_the_keys(dynamodb, unique):
    """A definition of an attribute that is no key is the commonest mistake in templates."""
    message = message_of(
        dynamodb.create_table,
        TableName=unique,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "x", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    assert (
        "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match"
        " number of attributes defined in AttributeDefinitions" == message
    )


def test_a_protected_table_stays(dynamodb, table):
    """Deletion protection is enforced until it is taken away."""
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
    assert (
        "ValidationException" == error_of(dynamodb.delete_table, TableName=table)["Error"]["Code"]
    )
    described = dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    assert described["TableDescription"]["DeletionProtectionEnabled"] is False


def test_an_item_comes_back_as_it_was_put(dynamodb, table):
    """Every type survives, numbers in canonical form."""
    item = {
        "id": s("a"),
        "number": n("1.50"),
        "blob": {"B": b"\x00\xff"},
        "nothing": {"NULL": True},
        "flag": {"BOOL": False},
        "names": {"SS": ["x", "ü"]},
        "blobs": {"BS": [b"\x01"]},
        "list": {"L": [{"M": {"b": {"B": b"deep"}}}, s("")]},
    }
    dynamodb.put_item(TableName=table, Item=item)
    found = dynamodb.get_item(TableName=table, Key={"id": s("a")}, ConsistentRead=True)["Item"]
    assert {**item, "number": n("1.5")} == found
    assert "Item" not in dynamodb.get_item(TableName=table, Key={"id": s("b")})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            {"x": s("a")},
            "One or more parameter values were invalid: Missing the key id in the item",
        ),
        (
            {"id": n(1)},
            "One or more parameter values were invalid: Type mismatch for key id expected: S actual: N",
        ),
        (
            {"id": s("")},
            "One or more parameter values are not valid. The AttributeValue for a key attribute"
            " cannot contain an empty string value. Key: id",
        ),
        (
            {"id": s("x" * 2049)},
            "One or more parameter values were invalid:"
            " Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ),
        ({"id": s("a"), "x": s("x" * 409_600)}, "Item size has exceeded the maximum allowed size"),
    ],
)
def test_items_that_cannot_be_put(dynamodb, table, item, message):
    """Limits are enforced, in AWS's words."""
    assert message == message_of(dynamodb.put_item, TableName=table, Item=item)


def test_a_key_must_be_the_tables(dynamodb, table):
    """Missing, surplus and mistyped key attributes are one error."""
    for key in ({"x": s("a")}, {"id": s("a"), "x": s("a")}, {"id": n(1)}):
        message = message_of(dynamodb.get_item, TableName=table, Key=key)
        assert "The provided key element does not match the schema" == message


def test_a_missing_table_is_told_without_its_name(dynamodb, unique):
    """The data plane's text differs from the control plane's."""
    response = error_of(dynamodb.get_item, TableName=unique, Key={"id": s("a")})
    assert "ResourceNotFoundException" == response["Error"]["Code"]
    assert "Requested resource not found" == response["Error"]["Message"]


def test_put_if_absent(dynamodb, table):
    """The idempotency of consumers rests on this condition."""
    first = {"id": s("a"), "v": n(1)}
    put = {"TableName": table, "ConditionExpression": "attribute_not_exists(id)"}
    dynamodb.put_item(Item=first, **put)
    response = error_of(dynamodb.put_item, Item={"id": s("a")}, **put)
    assert "ConditionalCheckFailedException" == response["Error"]["Code"]
    assert "The conditional request failed" == response["Error"]["Message"]
    assert "Item" not in response
    response = error_of(
        dynamodb.put_item,
        Item={"id": s("a")},
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
        **put,
    )
    assert first == response["Item"]
    assert first == dynamodb.get_item(TableName=table, Key={"id": s("a")})["Item"]


def test_old_values_of_put_and_delete(dynamodb, table):
    """ALL_OLD answers what was there, and nothing when nothing was."""
    put = {"TableName": table, "ReturnValues": "ALL_OLD"}
    assert "Attributes" not in dynamodb.put_item(Item={"id": s("a"), "v": n(1)}, **put)
    assert {"id": s("a"), "v": n(1)} == dynamodb.put_item(Item={"id": s("a")}, **put)["Attributes"]
    delete = {"TableName": table, "Key": {"id": s("a")}, "ReturnValues": "ALL_OLD"}
    assert {"id": s("a")} == dynamodb.delete_item(**delete)["Attributes"]
    assert "Attributes" not in dynamodb.delete_item(**delete)
    message = message_of(
        dynamodb.put_item, TableName=table, Item={"id": s("a")}, ReturnValues="ALL_NEW"
    )
    assert "ReturnValues can only be ALL_OLD or NONE" == message


def test_update_makes_and_changes_items(dynamodb, table):
    """An update of what is not there makes it; a counter counts."""
    update = {
        "TableName": table,
        "Key": {"id": s("a")},
        "UpdateExpression": "SET #s = :s ADD hits :one",
        "ExpressionAttributeNames": {"#s": "status"},
    }
    values = {":one": n(1)}
    dynamodb.update_item(ExpressionAttributeValues={**values, ":s": s("NEW")}, **update)
    result = dynamodb.update_item(
        ExpressionAttributeValues={**values, ":s": s("DONE")}, ReturnValues="ALL_NEW", **update
    )
    assert {"id": s("a"), "status": s("DONE"), "hits": n(2)} == result["Attributes"]
    result = dynamodb.update_item(
        ExpressionAttributeValues={**values, ":s": s("X")}, ReturnValues="UPDATED_OLD", **update
    )
    assert {"status": s("DONE"), "hits": n(2)} == result["Attributes"]
    dynamodb.update_item(TableName=table, Key={"id": s("bare")})
    bare = dynamodb.get_item(TableName=table, Key={"id": s("bare")})["Item"]
    assert {"id": s("bare")} == bare


def test_only_touched_parts_are_returned(dynamodb, table):
    """UPDATED_NEW of a nested path is that path alone."""
    item = {"id": s("a"), "m": {"M": {"x": n(1), "y": n(2)}}}
    dynamodb.put_item(TableName=table, Item=item)
    result = dynamodb.update_item(
        TableName=table,
        Key={"id": s("a")},
        UpdateExpression="SET m.x = m.x + :one",
        ExpressionAttributeValues={":one": n(1)},
        ReturnValues="UPDATED_NEW",
    )
    assert {"m": {"M": {"x": n(2)}}} == result["Attributes"]


def test_a_failed_condition_changes_nothing(dynamodb, table):
    """The state machine of an order rests on conditional updates."""
    dynamodb.put_item(TableName=table, Item={"id": s("a"), "state": s("DONE")})
    response = error_of(
        dynamodb.update_item,
        TableName=table,
        Key={"id": s("a")},
        UpdateExpression="SET #state = :new",
        ConditionExpression="#state IN (:a, :b)",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":new": s("FAILED"), ":a": s("QUEUED"), ":b": s("PROCESSING")},
    )
    assert "ConditionalCheckFailedException" == response["Error"]["Code"]
    found = dynamodb.get_item(
        TableName=table,
        Key={"id": s("a")},
        ProjectionExpression="#s",
        ExpressionAttributeNames={"#s": "state"},
    )
    assert {"state": s("DONE")} == found["Item"]


def test_expression_errors_reach_the_client(dynamodb, table):
    """Values without an expression, and expressions with an error, are told by AWS's texts."""
    message = message_of(
        dynamodb.put_item,
        TableName=table,
        Item={"id": s("a")},
        ExpressionAttributeValues={":v": s("x")},
    )
    assert (
        "ExpressionAttributeValues can only be specified when using expressions:"
        " ConditionExpression is null"
    ) == message
    message = message_of(
        dynamodb.update_item,
        TableName=table,
        Key={"id": s("a")},
        UpdateExpression="SET id = :v",
        ExpressionAttributeValues={":v": s("x")},
    )
    assert (
        "One or more parameter values were invalid: Cannot update attribute id."
        " This attribute is part of the key"
    ) == message


def fill(dynamodb, table, numbers):
    for number in numbers:
        dynamodb.put_item(
            TableName=table,
            Item={"id": s("p"), "sort": n(number), "odd": {"BOOL": number % 2 == 1}},
        )


def numbers_of(page):
    return [float(item["sort"]["N"]) for item in page["Items"]]


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("", {}, [-20, -3, 0, 1, 2, 10]),
        ("AND sort = :a", {":a": n("1.0")}, [1]),
        ("AND sort < :a", {":a": n(1)}, [-20, -3, 0]),
        ("AND sort <= :a", {":a": n(1)}, [-20, -3, 0, 1]),
        ("AND sort > :a", {":a": n(1)}, [2, 10]),
        ("AND sort >= :a", {":a": n(1)}, [1, 2, 10]),
        ("AND sort BETWEEN :a AND :b", {":a": n(-3), ":b": n(2)}, [-3, 0, 1, 2]),
    ],
)
def test_query_reads_a_range_in_order(dynamodb, sorted_table, condition, values, expected):
    """Numbers are ordered as numbers, also negative ones and those of more digits."""
    fill(dynamodb, sorted_table, [10, -3, 2, 0, -20, 1])
    query = {
        "TableName": sorted_table,
        "KeyConditionExpression": f"id = :p {condition}",
        "ExpressionAttributeValues": {":p": s("p"), **values},
    }
    assert expected == numbers_of(dynamodb.query(**query))
    assert expected[::-1] == numbers_of(dynamodb.query(ScanIndexForward=False, **query))


@pytest.mark.parametrize("forward", [True, False])
def test_pages_of_a_query_join_up(dynamodb, sorted_table, forward):
    """LastEvaluatedKey goes on where the page ended, in both directions."""
    fill(dynamodb, sorted_table, range(7))
    pages = dynamodb.get_paginator("query").paginate(
        TableName=sorted_table,
        KeyConditionExpression="id = :p",
        ExpressionAttributeValues={":p": s("p")},
        ScanIndexForward=forward,
        PaginationConfig={"PageSize": 3},
    )
    sizes, found = [], []
    for page in pages:
        sizes.append(page["Count"])
        found += numbers_of(page)
    assert [3, 3, 1] == sizes
    assert sorted(range(7), reverse=not forward) == found


def test_a_filter_counts_what_it_drops(dynamodb, sorted_table):
    """Limit bounds what is read, not what is shown."""
    fill(dynamodb, sorted_table, range(6))
    page = dynamodb.query(
        TableName=sorted_table,
        KeyConditionExpression="id = :p",
        FilterExpression="odd = :t",
        ExpressionAttributeValues={":p": s("p"), ":t": {"BOOL": True}},
        Limit=3,
    )
    assert (1, 3) == (page["Count"], page["ScannedCount"])
    assert {"id": s("p"), "sort": n(2)} == page["LastEvaluatedKey"]
    message = message_of(
        dynamodb.query,
        TableName=sorted_table,
        KeyConditionExpression="id = :p",
        FilterExpression="sort > :p",
        ExpressionAttributeValues={":p": s("p")},
    )
    assert (
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: sort"
        == message
    )


def test_a_page_ends_at_one_megabyte(dynamodb, sorted_table):
    """Big items make short pages, and the paginator finds them all."""
    text = "x" * 300_000
    for number in range(5):
        item = {"id": s("p"), "sort": n(number), "text": s(text)}
        dynamodb.put_item(TableName=sorted_table, Item=item)
    page = dynamodb.scan(TableName=sorted_table, Select="COUNT")
    assert page["Count"] < 5
    assert "LastEvaluatedKey" in page
    pages = dynamodb.get_paginator("scan").paginate(TableName=sorted_table, Select="COUNT")
    assert 5 == sum(page["Count"] for page in pages)


def test_segments_part_a_scan(dynamodb, table):
    """Parallel scans see each item exactly once."""
    for number in range(20):
        dynamodb.put_item(TableName=table, Item={"id": s(f"item-{number}")})
    found = [
        item["id"]["S"]
        for segment in range(3)
        for item in dynamodb.scan(TableName=table, Segment=segment, TotalSegments=3)["Items"]
    ]
    assert sorted(f"item-{number}" for number in range(20)) == sorted(found)
    assert (
        "The TotalSegments parameter is required but was not present in the request"
        " when Segment parameter is present"
    ) == message_of(dynamodb.scan, TableName=table, Segment=0)


def put_order(dynamodb, table, sort, status, at, **more):
    item = {"id": s("p"), "sort": n(sort), "at": n(at), **more}
    if status:
        item["status"] = s(status)
    dynamodb.put_item(TableName=table, Item=item)


def by_status(dynamodb, table, status, **more):
    return dynamodb.query(
        TableName=table,
        IndexName="by-status",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": s(status)},
        **more,
    )


def test_a_global_index_follows_its_table(dynamodb, indexed):
    """Entries appear, move and vanish with their items; items without the key are not in it."""
    put_order(dynamodb, indexed, 1, "OPEN", 30, note=s("x"))
    put_order(dynamodb, indexed, 2, "OPEN", 10)
    put_order(dynamodb, indexed, 3, None, 20)
    assert [2, 1] == numbers_of(by_status(dynamodb, indexed, "OPEN"))
    keys = {"id": s("p"), "sort": n(2), "status": s("OPEN"), "at": n(10)}
    assert keys == by_status(dynamodb, indexed, "OPEN")["Items"][0]
    dynamodb.update_item(
        TableName=indexed,
        Key={"id": s("p"), "sort": n(1)},
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": s("DONE")},
    )
    assert [2] == numbers_of(by_status(dynamodb, indexed, "OPEN"))
    assert [1] == numbers_of(by_status(dynamodb, indexed, "DONE"))
    dynamodb.delete_item(TableName=indexed, Key={"id": s("p"), "sort": n(1)})
    assert [] == numbers_of(by_status(dynamodb, indexed, "DONE"))


def test_pages_of_an_index_join_up_among_equal_keys(dynamodb, indexed):
    """Index keys need not be unique: the table's key tells where a page ended."""
    for sort in range(5):
        put_order(dynamodb, indexed, sort, "OPEN", 7)
    first = by_status(dynamodb, indexed, "OPEN", Limit=3)
    assert {"id", "sort", "status", "at"} == set(first["LastEvaluatedKey"])
    rest = by_status(dynamodb, indexed, "OPEN", ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [0, 1, 2, 3, 4] == numbers_of(first) + numbers_of(rest)


def test_a_local_index_fetches_what_it_lacks(dynamodb, indexed):
    """A local index shows its projection, and on request the whole item."""
    put_order(dynamodb, indexed, 1, None, 30, note=s("n"), other=s("o"))
    query = {
        "TableName": indexed,
        "IndexName": "by-time",
        "KeyConditionExpression": "id = :p AND #at > :at",
        "ExpressionAttributeNames": {"#at": "at"},
        "ExpressionAttributeValues": {":p": s("p"), ":at": n(5)},
        "ConsistentRead": True,
    }
    assert {"id", "sort", "at", "note"} == set(dynamodb.query(**query)["Items"][0])
    whole = dynamodb.query(Select="ALL_ATTRIBUTES", **query)["Items"][0]
    assert {"id", "sort", "at", "note", "other"} == set(whole)


def test_index_rules(dynamodb, indexed):
    """What an index cannot answer, or hold, is refused."""
    assert "Consistent reads are not supported on global secondary indexes" == message_of(
        by_status, dynamodb=dynamodb, table=indexed, status="OPEN", ConsistentRead=True
    )
    assert "The table does not have the specified index: nope" == message_of(
        dynamodb.scan, TableName=indexed, IndexName="nope"
    )
    assert (
        "One or more parameter values were invalid: Type mismatch for Index Key status Expected: S Actual: N"
        " IndexName: by-status"
    ) == message_of(
        dynamodb.put_item,
        TableName=indexed,
        Item={"id": s("p"), "sort": n(1), "status": n(1)},
    )


def test_an_index_made_later_holds_what_was_there(dynamodb, table):
    """UpdateTable fills a new index from the table and removes an index with its entries."""
    dynamodb.put_item(TableName=table, Item={"id": s("a"), "group": s("g")})
    dynamodb.put_item(TableName=table, Item={"id": s("b"), "group": n(1)})
    dynamodb.update_table(
        TableName=table,
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "group", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "by-group",
                    "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            }
        ],
    )
    assert [{"id": s("a"), "group": s("g")}] == dynamodb.scan(
        TableName=table, IndexName="by-group"
    )["Items"]
    dynamodb.update_table(
        TableName=table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-group"}}]
    )
    assert "GlobalSecondaryIndexes" not in dynamodb.describe_table(TableName=table)["Table"]


def test_batches(dynamodb, table):
    """Batches write and read many; duplicates and surplus are refused."""
    puts = [{"PutRequest": {"Item": {"id": s(str(i)), "v": n(i)}}} for i in range(25)]
    assert {} == dynamodb.batch_write_item(RequestItems={table: puts})["UnprocessedItems"]
    keys = [{"id": s(str(i))} for i in range(30)]
    result = dynamodb.batch_get_item(RequestItems={table: {"Keys": keys}})
    assert 25 == len(result["Responses"][table])
    assert {} == result["UnprocessedKeys"]
    changes = [
        {"DeleteRequest": {"Key": {"id": s("1")}}},
        {"PutRequest": {"Item": {"id": s("new")}}},
    ]
    dynamodb.batch_write_item(RequestItems={table: changes})
    assert 25 == dynamodb.scan(TableName=table)["Count"]
    assert "Provided list of item keys contains duplicates" == message_of(
        dynamodb.batch_write_item, RequestItems={table: [*changes, changes[0]]}
    )
    assert "Provided list of item keys contains duplicates" == message_of(
        dynamodb.batch_get_item, RequestItems={table: {"Keys": [keys[0], keys[0]]}}
    )


def test_a_transaction_is_all_or_nothing(dynamodb, table):
    """One failed condition undoes the rest, and its reason stands in its place."""
    dynamodb.put_item(TableName=table, Item={"id": s("stock"), "left": n(1)})
    take = {
        "Update": {
            "TableName": table,
            "Key": {"id": s("stock")},
            "UpdateExpression": "SET #l = #l - :one",
            "ConditionExpression": "#l >= :one",
            "ExpressionAttributeNames": {"#l": "left"},
            "ExpressionAttributeValues": {":one": n(1)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }

    def order(name):
        return {"Put": {"TableName": table, "Item": {"id": s(name)}}}

    dynamodb.transact_write_items(TransactItems=[order("first"), take])
    response = error_of(dynamodb.transact_write_items, TransactItems=[order("second"), take])
    assert "TransactionCanceledException" == response["Error"]["Code"]
    assert (
        "Transaction cancelled, please refer cancellation reasons for specific reasons"
        " [None, ConditionalCheckFailed]" == response["Error"]["Message"]
    )
    first, second = response["CancellationReasons"]
    assert "None" == first["Code"]
    assert "ConditionalCheckFailed" == second["Code"]
    assert {"id": s("stock"), "left": n(0)} == second["Item"]
    gets = [
        {"Get": {"TableName": table, "Key": {"id": s(name)}}}
        for name in ("first", "second", "stock")
    ]
    responses = dynamodb.transact_get_items(TransactItems=gets)["Responses"]
    assert [
        {"Item": {"id": s("first")}},
        {},
        {"Item": {"id": s("stock"), "left": n(0)}},
    ] == responses


def test_a_transaction_with_a_known_token_is_not_made_again(dynamodb, table):
    """A client that lost the answer may ask again with the same token."""

    def count(token, by):
        dynamodb.transact_write_items(
            ClientRequestToken=token,
            TransactItems=[
                {
                    "Update": {
                        "TableName": table,
                        "Key": {"id": s("a")},
                        "UpdateExpression": "ADD hits :by",
                        "ExpressionAttributeValues": {":by": n(by)},
                    }
                }
            ],
        )

    count(f"{table[-20:]}-1", 1)
    count(f"{table[-20:]}-1", 1)
    count(f"{table[-20:]}-2", 1)
    item = dynamodb.get_item(TableName=table, Key={"id": s("a")})["Item"]
    assert n(2) == item["hits"]
    with pytest.raises(ClientError) as caught:
        count(f"{table[-20:]}-1", 5)
    assert "IdempotentParameterMismatchException" == caught.value.response["Error"]["Code"]


def test_one_operation_for_each_item_of_a_transaction(dynamodb, table):
    """Two changes of one item in a transaction have no order, so they are refused."""
    actions = [
        {"Put": {"TableName": table, "Item": {"id": s("a")}}},
        {"Delete": {"TableName": table, "Key": {"id": s("a")}}},
    ]
    assert "Transaction request cannot include multiple operations on one item" == message_of(
        dynamodb.transact_write_items, TransactItems=actions
    )


def test_consumed_capacity(dynamodb, table):
    """Units follow sizes: 1 KB a write, 4 KB a read, half price when eventually consistent."""
    item = {"id": s("a"), "text": s("x" * 5000)}
    more = {"TableName": table, "ReturnConsumedCapacity": "TOTAL"}
    assert 5.0 == dynamodb.put_item(Item=item, **more)["ConsumedCapacity"]["CapacityUnits"]
    get = {"Key": {"id": s("a")}, **more}
    assert 1.0 == dynamodb.get_item(**get)["ConsumedCapacity"]["CapacityUnits"]
    strong = dynamodb.get_item(ConsistentRead=True, **get)["ConsumedCapacity"]
    assert {"TableName": table, "CapacityUnits": 2.0} == strong
    assert 5.0 == dynamodb.delete_item(**get)["ConsumedCapacity"]["CapacityUnits"]


@pytest.mark.parametrize("member", ["OnDemandThroughput", "WarmThroughput"])
def test_throughput_of_a_new_index_is_refused(dynamodb, unique, member):
    """A cap that is accepted and not kept would surprise whoever set it."""
    units = "MaxReadRequestUnits" if member == "OnDemandThroughput" else "ReadUnitsPerSecond"
    with pytest.raises(ClientError) as caught:
        dynamodb.create_table(
            TableName=unique,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-id",
                    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                    member: {units: 1},
                }
            ],
        )
    assert member in caught.value.response["Error"]["Message"]


def test_expressions_of_one_text_keep_their_own_values(dynamodb, table):
    """Requests that differ in their values alone must not see each other's, within a transaction and after it."""

    def update(key, status, more, limit="0"):
        return {
            "TableName": table,
            "Key": {"id": {"S": key}},
            "UpdateExpression": "SET #s = :s ADD seen :more",
            "ConditionExpression": "attribute_not_exists(#s) OR seen < :limit",
            "ExpressionAttributeNames": {"#s": "status"},
            "ExpressionAttributeValues": {
                ":s": {"S": status},
                ":more": {"N": more},
                ":limit": {"N": limit},
            },
        }

    items = [{"Update": update("a", "one", "1")}, {"Update": update("b", "two", "2")}]
    dynamodb.transact_write_items(TransactItems=items)
    found = {
        key: dynamodb.get_item(TableName=table, Key={"id": {"S": key}})["Item"] for key in "ab"
    }
    assert found["a"] == {"id": {"S": "a"}, "status": {"S": "one"}, "seen": {"N": "1"}}
    assert found["b"] == {"id": {"S": "b"}, "status": {"S": "two"}, "seen": {"N": "2"}}
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.update_item(**update("b", "three", "1", "2"))
    dynamodb.update_item(**update("b", "three", "1", "2.5"))
    item = dynamodb.get_item(TableName=table, Key={"id": {"S": "b"}})["Item"]
    assert (item["status"], item["seen"]) == ({"S": "three"}, {"N": "3"})


def test_expressions_are_checked_for_every_request(dynamodb, table):
    """What is wrong with the values of a request is told, however often its text has been right before."""

    def put(condition, values):
        dynamodb.put_item(
            TableName=table,
            Item={"id": {"S": "checked"}, "n": {"N": "5"}, "kind": {"S": "x"}},
            ConditionExpression=condition,
            **({} if values is None else {"ExpressionAttributeValues": values}),
        )

    dynamodb.put_item(TableName=table, Item={"id": {"S": "checked"}, "n": {"N": "5"}})
    put("n BETWEEN :low AND :high", {":low": {"N": "1"}, ":high": {"N": "9"}})
    with pytest.raises(ClientError, match="upper bound"):
        put("n BETWEEN :low AND :high", {":low": {"N": "9"}, ":high": {"N": "1"}})
    put("attribute_type(kind, :t)", {":t": {"S": "S"}})
    with pytest.raises(ClientError, match="Invalid attribute type name"):
        put("attribute_type(kind, :t)", {":t": {"S": "X"}})
    put("attribute_exists(n)", None)
    with pytest.raises(ClientError, match="must not be empty"):
        put("attribute_exists(n)", {})
    put("n = :n", {":n": {"N": "5.0"}})
    with pytest.raises(ClientError, match="invalid value"):
        put("n = :n", {":n": {"N": "five"}})

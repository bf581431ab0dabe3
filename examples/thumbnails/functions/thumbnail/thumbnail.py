"""Makes a thumbnail of every picture that S3 tells of. The same picture always makes the same thumbnail, so twice is no harm."""

import os
from urllib.parse import unquote_plus

import boto3
import png

WIDTH = int(os.environ.get("WIDTH", "64"))
s3 = boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))


def handler(event, context):
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        # Keys come encoded as in a form.
        key = unquote_plus(record["s3"]["object"]["key"])
        picture = s3.get_object(Bucket=bucket, Key=key)
        small = png.shrink(picture["Body"].read(), WIDTH)
        s3.put_object(
            Bucket=os.environ["THUMBNAILS"],
            Key=key,
            Body=small,
            ContentType="image/png",
            Metadata={"of": picture["ETag"].strip('"')},
        )

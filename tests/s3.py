"""A real HTTP server on loopback that speaks S3, from moto."""

import boto3
from moto.server import ThreadedMotoServer

from tests.service import free_port

BUCKET = "backups"


class FakeS3:
    """`env` and `options` are what the service is to be told of it."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server._server.port}"  # type: ignore[union-attr]
        self.env = {
            "BACKUP_S3_BUCKET": BUCKET,
            "BACKUP_S3_ENDPOINT_URL": self.url,
            "BACKUP_S3_REGION": "us-east-1",
            "BACKUP_S3_ACCESS_KEY_ID": "key",
            "BACKUP_S3_SECRET_ACCESS_KEY": "secret",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        self.client.create_bucket(Bucket=BUCKET)

    def files(self) -> dict[str, bytes]:
        """What is in the bucket."""
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {
            found["Key"]: self.client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read() for found in listed
        }

    def close(self) -> None:
        self.client.close()
        self._server.stop()

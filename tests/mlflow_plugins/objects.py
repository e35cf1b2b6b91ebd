"""A throwaway S3-compatible object store on loopback, in memory: moto's server."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import boto3

from tests.mlflow_plugins.servers import free_port

BUCKET = "kurve"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running store."""

    endpoint: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a tracking server is told of it; clients are told nothing."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="somebody",
            aws_secret_access_key="anything",
        )

    def names(self, bucket: str = BUCKET) -> list[str]:
        """Names of all objects in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [str(one["Key"]) for page in pages for one in page.get("Contents", ())]


@contextlib.contextmanager
def object_store(folder: Path, bucket: str = BUCKET) -> Iterator[ObjectStore]:
    """A store with one bucket, or none, while the block lasts; its log is in `folder`."""
    port = free_port()
    with (folder / "objects.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        store = ObjectStore(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while not _answers(store.endpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no object store: {(folder / 'objects.log').read_text()[-2000:]}")
            time.sleep(0.1)
        if bucket:
            store.client().create_bucket(Bucket=bucket)
        yield store
    finally:
        process.kill()
        process.wait()


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False

"""A bucket `films` that speaks S3, on a port of the kernel's choice: prints its address, and runs until it is killed."""

import logging
import signal

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"
keys = {"aws_access_key_id": "a-key", "aws_secret_access_key": "a-secret"}
boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket="films")
print(endpoint, flush=True)
signal.pause()

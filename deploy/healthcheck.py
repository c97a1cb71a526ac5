"""Ends with 0 if TorchServe is healthy, for the container's health check and Kubernetes' probes.

It is not if it has given up on its workers: it then takes calls and answers none. Readiness is the API's to tell.
"""

import json
import urllib.request
from pathlib import Path

key = json.loads(Path("key_file.json").read_bytes())["inference"]["key"]
request = urllib.request.Request("http://127.0.0.1:8080/ping", headers={"Authorization": f"Bearer {key}"})
urllib.request.urlopen(request, timeout=4)  # noqa: S310  # raises for any answer that is not good

"""An OpenID provider on a port of the kernel's choice, with one client that sends persons back to the address it is given: prints who it is and how it knows
the client, and runs until it is killed."""

import json
import logging
import os
import sys
import threading
import urllib.request

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
import oidc_provider_mock  # noqa: E402
import werkzeug.serving  # noqa: E402

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = oidc_provider_mock.app(require_client_registration=True, require_nonce=True)
server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
issuer = f"http://127.0.0.1:{server.server_port}"
serving = threading.Thread(target=server.serve_forever)
serving.start()
body = json.dumps({"redirect_uris": [sys.argv[1]]}).encode()
request = urllib.request.Request(f"{issuer}/oauth2/clients", body, {"content-type": "application/json"})
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
    client = json.load(answer)
print(json.dumps({"issuer": issuer, "client_id": client["client_id"], "client_secret": client["client_secret"]}), flush=True)
serving.join()

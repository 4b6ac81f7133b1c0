#!/bin/sh
# s3fs deletes several objects by one request, and does not look into the answer: of objects that the
# store refuses to delete (an <Error> in S3's DeleteResult, as for a locked object) it says nothing.
# One object alone is deleted by another request, whose refusal is an error.
# Seen: s3fs 2026.9.0 (botocore as it brings it along), Python 3.11.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet s3fs==2026.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import s3fs

REFUSED = (
    '<?xml version="1.0" encoding="UTF-8"?><DeleteResult>'
    "<Error><Key>{}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    "</DeleteResult>"
)
ONE = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>'


class Store(BaseHTTPRequestHandler):
    """Refuses to delete anything, in S3's words."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(200, REFUSED.format("one.parquet"))

    def do_DELETE(self):
        self.answer(403, ONE)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
files = s3fs.S3FileSystem(
    key="key",
    secret="secret",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    client_kwargs={"region_name": "us-east-1"},
    skip_instance_cache=True,
)
try:
    files.rm(["calls/one.parquet", "calls/two.parquet"])
    several = "nothing"
except Exception as error:
    several = type(error).__name__
try:
    files.rm_file("calls/one.parquet")
    single = "nothing"
except Exception as error:
    single = type(error).__name__
print(f"the store refuses: rm of two says {several}, rm_file of one says {single}")
sys.exit(0 if (several, single) == ("nothing", "PermissionError") else 1)
PYTHON

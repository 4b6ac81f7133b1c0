#!/bin/sh
# dagster-celery's Celery application declares the queue `dagster` alone, also where its `default_queue`
# is another one: a worker that is started from it without `-Q` listens where nothing is sent, and says
# nothing.
# Seen: dagster-celery 0.29.27, celery 5.6.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dagster==1.13.27 dagster-celery==0.29.27 celery==5.6.0 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from dagster_celery.make_app import make_app

app = make_app({"broker": "memory://", "config_source": {"task_default_queue": "calls"}})
sent = app.conf.task_default_queue
listened = sorted(app.amqp.queues.consume_from)
print(f"tasks are sent to {sent!r}, a worker listens at {listened}")
sys.exit(0 if sent not in listened else 1)
PYTHON

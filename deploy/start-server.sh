#!/usr/bin/env bash
# Start the shared tracking server on what the environment names; docs/server.md explains each variable.
set -euo pipefail

# A secret NAME may come as the file that NAME_FILE names, as compose mounts it: it then appears in no listing.
for name in PGPASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY; do
  file="${name}_FILE"
  if [[ -n ${!file:-} ]]; then
    printf -v "$name" %s "$(<"${!file}")"
    export "${name?}"
    unset "$file"
  fi
done

# Without a password in it: libpq takes that from PGPASSWORD, and command lines can be seen by everybody on a machine.
: "${MLFLOW_BACKEND_STORE_URI:?set it to postgresql+psycopg2://user@host/database}"
: "${KURVE_BUCKET:?set it to the name of a bucket for the files of the runs}"
: "${KURVE_ALLOWED_HOSTS:?set it to the host names under which people open the server, commas between them}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?set it to some 32 random bytes, the same at each start}"
export MLFLOW_AUTH_CONFIG_PATH="${MLFLOW_AUTH_CONFIG_PATH:-/srv/auth.ini}"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION="${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false}"
export KURVE_UI_LINK="${KURVE_UI_LINK:-1}"

# Once, before there are workers: each of them would make tables and bucket, and all but one would fail.
python - <<'PYTHON'
import os

import boto3
from mlflow.server.auth import bootstrap_admin_user

bootstrap_admin_user()
store = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))
bucket = os.environ["KURVE_BUCKET"]
if bucket not in {one["Name"] for one in store.list_buckets()["Buckets"]}:
    store.create_bucket(Bucket=bucket)
PYTHON

exec mlflow server --app-name kurve-auth \
  --host "${KURVE_HOST:-0.0.0.0}" --port "${KURVE_PORT:-5000}" --workers "${KURVE_WORKERS:-4}" \
  --uvicorn-opts "--timeout-worker-healthcheck 60" \
  --artifacts-destination "s3://$KURVE_BUCKET/mlflow" \
  --allowed-hosts "$KURVE_ALLOWED_HOSTS" \
  --cors-allowed-origins "${KURVE_ALLOWED_ORIGINS:-https://${KURVE_ALLOWED_HOSTS%%,*}}"

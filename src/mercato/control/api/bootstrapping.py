"""What a deployment's worker starts: the official client's serve mode, in whatever image.

It fetches the code by the instance's own key, installs what the code asks for, and serves. Needed
of the image: Python 3.10.12, 3.11.4 or newer, by whose `tarfile` the client unpacks, and pip unless
the client is installed already.
"""

from typing import Final

ONSTART: Final = """\
here="${WORKSPACE_DIR:-/workspace}"
mkdir -p "$here" && cd "$here" || exit 1

give_up() {
  echo "deployment: $1"
  python3 - "$1" << 'END'
import json, os, sys, urllib.request
about = os.environ
port = about.get("VAST_TCP_PORT_" + about["WORKER_PORT"], "")
told = {
    "id": int(about["CONTAINER_ID"]),
    "mtoken": about["MASTER_TOKEN"],
    "version": "1.1.0",
    "error_msg": sys.argv[1],
    "url": "http://" + about["PUBLIC_IPADDR"] + ":" + port,
}
urllib.request.urlopen(
    urllib.request.Request(
        about["REPORT_ADDR"].split(",")[0].rstrip("/") + "/worker_status/",
        json.dumps(told).encode(),
        {"Content-Type": "application/json"},
    ),
    timeout=30,
)
END
  exit 1
}

if [ "$USE_SYSTEM_PYTHON" = true ]; then
  export PIP_BREAK_SYSTEM_PACKAGES=1
else
  venv="${ENV_PATH:-$here/worker-env}"
  if [ ! -x "$venv/bin/python3" ]; then
    python3 -m venv --system-site-packages "$venv" ||
      give_up "the image has no python3 with venv: choose another, or image.use_system_python()"
  fi
  . "$venv/bin/activate"
fi

python3 -c "import tarfile; tarfile.data_filter" 2> /dev/null ||
  give_up "the image's python3 is too old for vastai: 3.10.12, 3.11.4 or newer is needed"

serves() { python3 -c "import vastai.serverless.server.worker" 2> /dev/null; }
fetch() { python3 -m pip install --quiet --disable-pip-version-check "$@"; }
if ! serves; then
  echo "deployment: installing the serve mode, on the first start only"
  fetch vastai setuptools || give_up "vastai could not be installed, see the instance's log"
  serves || give_up "vastai does not start with this image's python3, see the instance's log"
fi
# By it the serve mode installs what the code asks pip for.
command -v uv > /dev/null || fetch uv || echo "deployment: going on without uv"

# Whoever deploys may still be uploading; later, what served and ended is started again.
try=0
while [ $try -lt 12 ]; do
  began=$(date +%s)
  python3 -m vastai.serverless.remote.serve_deployment
  [ $(($(date +%s) - began)) -lt 60 ] || try=0
  try=$((try + 1))
  sleep 5
done
give_up "the deployment does not start, see the instance's log"
"""

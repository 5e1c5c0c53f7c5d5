"""The environment and the first process of an instance. Pure.

The first process works in an image that has nothing but `/bin/sh`, `sleep` and `wait`.
"""

from collections.abc import Mapping
from typing import Final

from mercato.agent import ports as port_rules
from mercato.wire.agent import DesiredInstance

ONSTART_PATH: Final = "/root/onstart.sh"

KEEP_ALIVE: Final = f"""\
busy() {{
  for one in /proc/[0-9]*; do
    case "$one" in /proc/1 | /proc/$$) continue ;; esac
    read -r _ name state _ _ _ tty _ 2> /dev/null < "$one/stat" || continue
    case "$name $state $tty" in *" Z "* | *" X "* | "("*"sh) "*" "[1-9]*) ;; *) return 0 ;; esac
  done
  return 1
}}
end() {{
  trap '' TERM INT
  kill -TERM -1 2> /dev/null
  while busy; do sleep 0.1 2> /dev/null || sleep 1; done
  exit 0
}}
trap end TERM INT
if [ -s {ONSTART_PATH} ]; then
  if [ -x /bin/bash ]; then /bin/bash {ONSTART_PATH} & else /bin/sh {ONSTART_PATH} & fi
fi
command -v sleep > /dev/null || {{ echo "this image has no sleep command"; exit 1; }}
while :; do sleep 86400 & wait $!; done
"""
"""Runs the start script on every start and then waits to be told to end.

Then it tells everything that runs, and ends when all of it has: the engine kills what is left when
its grace is over. Shells at a terminal, which do not listen, are not waited for.
"""

JUPYTER: Final = """\
jupyter_up() {
  if ! command -v jupyter > /dev/null; then
    own=/opt/mercato-jupyter
    if [ ! -x $own/bin/jupyter ]; then
      python3 -c "import venv, ensurepip" 2> /dev/null || {
        echo "jupyter: this image has no jupyter, and no python3 with venv to install it by;" \
          "choose an image that has one of them, or rent without jupyter"
        return 1
      }
      echo "jupyter: installing JupyterLab, on the first start only"
      python3 -m venv --system-site-packages $own.new && rm -rf $own && mv $own.new $own &&
        $own/bin/python3 -m pip install --no-cache-dir --disable-pip-version-check jupyterlab || {
        echo "jupyter: JupyterLab could not be installed, see above; reboot to try again"
        rm -rf $own $own.new
        return 1
      }
    fi
    PATH=$own/bin:$PATH
  fi
  kind=lab
  if [ "$JUPYTER_TYPE" = notebook ] && command -v jupyter-notebook > /dev/null; then
    kind=notebook
  fi
  mkdir -p "$JUPYTER_DIR"
  echo "jupyter: starting"
  exec jupyter $kind --allow-root --no-browser --ip=0.0.0.0 --port=8080 \
    --ServerApp.port_retries=0 --ServerApp.root_dir="$JUPYTER_DIR"
}
jupyter_up &
"""
"""Starts Jupyter on every start, installed on the first where the image has none.

It reads its token from its environment: on its command line it would be seen.
"""

DATA_DIRECTORY: Final = "/workspace/"


def first_process(desired: DesiredInstance) -> str:
    """The shell script that a container runs which the platform keeps alive."""
    return (JUPYTER if desired.jupyter is not None else "") + KEEP_ALIVE


def environment(
    desired: DesiredInstance, allocation: Mapping[str, int], public_ip: str
) -> dict[str, str]:
    """Every variable that a container gets.

    What the renter asked for wins over our conveniences, but not over what names the instance or
    says how it is reached.
    """
    conveniences = {
        "DATA_DIRECTORY": DATA_DIRECTORY,
        "GPU_COUNT": str(len(desired.gpus)),
        "PUBLIC_IPADDR": public_ip,
        "SSH_PUBLIC_KEY": "\n".join(desired.ssh_keys),
    } | _jupyter(desired, allocation, public_ip)
    return conveniences | desired.env | _facts(desired, allocation)


def _facts(desired: DesiredInstance, allocation: Mapping[str, int]) -> dict[str, str]:
    facts = {"CONTAINER_ID": str(desired.id), "VAST_CONTAINERLABEL": f"C.{desired.id}"}
    for wish, outside in allocation.items():
        port, protocol = port_rules.split(wish)
        facts[f"VAST_{protocol.upper()}_PORT_{port}"] = str(outside)
    return facts


def _jupyter(
    desired: DesiredInstance, allocation: Mapping[str, int], public_ip: str
) -> dict[str, str]:
    if desired.jupyter is None:
        return {}
    token = desired.jupyter.token
    outside = allocation.get(port_rules.JUPYTER, 8_080)
    return {
        "JUPYTER_TOKEN": token,
        "OPEN_BUTTON_TOKEN": token,
        "JUPYTER_SERVER_ROOT": desired.jupyter.directory,
        "JUPYTER_SERVER_URL": f"http://{public_ip}:{outside}/",
        "JUPYTER_DIR": desired.jupyter.directory,
        "JUPYTER_PORT": "8080",
        "JUPYTER_TYPE": "lab" if desired.jupyter.lab else "notebook",
    }

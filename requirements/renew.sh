#!/usr/bin/env bash
# Renew requirements/cpu.lock and cuda.lock from the .in files next to them: `make lock`.
# An empty TORCH_INDEX asks no index but the usual one (with UV_FIND_LINKS naming a folder that holds the CPU torch).
set -euo pipefail
bin=$(realpath "$1")
cd "$(dirname "$0")"
torch_index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}

renew() { # accelerator, further options
  local accelerator=$1
  shift
  "$bin/uv" pip compile "$accelerator.in" --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --override never.txt --no-header --no-annotate --upgrade --quiet "$@" --output-file "$accelerator.lock"
  sed -i "1i # Made by 'make lock' from $accelerator.in: the complete set, to be installed with --no-deps." "$accelerator.lock"
}

renew cpu --override never-cpu.txt ${torch_index:+--extra-index-url "$torch_index" --index-strategy unsafe-best-match}
UV_FIND_LINKS='' renew cuda

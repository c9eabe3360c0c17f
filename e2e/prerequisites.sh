#!/bin/sh
# Whether this machine has what `make run` needs; if not, what to install.
missing=
has() { command -v "$1" > /dev/null 2>&1; }
has cargo || missing="$missing
  cargo: https://rustup.rs (curl --proto '=https' -sSf https://sh.rustup.rs | sh), then open a new shell"
has cc || missing="$missing
  a C compiler, which Rust links with"
if has "${PYTHON:-python3}"; then
    "${PYTHON:-python3}" -c 'import pip' 2> /dev/null ||
        "${PYTHON:-python3}" -c 'import ensurepip, venv' 2> /dev/null || missing="$missing
  pip or venv of Python"
else
    missing="$missing
  python3"
fi
[ -z "$missing" ] && exit 0
echo "make: this machine lacks:$missing

On Debian and Ubuntu: sudo apt-get install build-essential ca-certificates curl python3-pip python3-venv" >&2
exit 1

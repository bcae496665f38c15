# shellcheck shell=bash
# What script/demo and script/test share: finding Python, installing packages, making a virtual environment.
# To be sourced; `program` is the name under which messages speak.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
program=${program:-script/packages.sh}

say() { printf '%s: %s\n' "$program" "$*" >&2; }

# Who may install packages: root, or whoever may become root without a password.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

may_install() { command -v apt-get >/dev/null && as_root true 2>/dev/null; }

# apt_install PACKAGE...: installs them if this user may, else prints the command that someone who may has to run.
apt_install() {
  if ! may_install; then
    say "packages are missing; run this, then $program again:"
    say "  sudo apt-get install $*"
    exit 1
  fi
  say "installing $* ..."
  as_root apt-get update -qq </dev/null
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "$@" </dev/null >/dev/null
}

# missing PACKAGE...: those of them that are not installed.
missing() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# make_venv FOLDER EXTRA: a virtual environment with the project and one of its extras, of which requirements/ has the
# versions and their hashes. One that was made for the same checkout and the same requirements is kept.
make_venv() {
  local venv=$1 extra=$2 python wanted
  local pip=("$venv/bin/python" -m pip install -qq --disable-pip-version-check)
  local pinned=$root/script/requirements/$extra.txt
  wanted=$(printf '%s\n' "$root" && cat -- "$root/pyproject.toml" "$pinned")
  if [ "$(cat -- "$venv/made-for" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    return
  fi
  if ! python=$(find_python); then
    apt_install python3 python3-venv
    python=$(find_python) || {
      say "Python 3.11 or newer is needed, and python3 is older; install one and run $program again:"
      say "  sudo apt-get install python3.11 python3.11-venv"
      exit 1
    }
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  say "making $venv (once) ..."
  rm -rf -- "$venv"
  "$python" -m venv "$venv"
  "${pip[@]}" --require-hashes --requirement "$pinned"
  "${pip[@]}" --no-deps --no-build-isolation --editable "$root"
  printf '%s\n' "$wanted" >"$venv/made-for"
}

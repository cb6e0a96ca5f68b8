# Functions of quickstart and test; sourced with the checkout as current directory.
# shellcheck shell=sh

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

# as_root COMMAND...: run COMMAND as root; fails without a prompt if that is impossible.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}
can_be_root() { as_root true 2>/dev/null; }

# apt_install PACKAGE...: install the packages that this release has.  Fails without
# apt-get, root, or a network.
apt_install() {
    if ! command -v apt-get >/dev/null || ! can_be_root; then
        return 1
    fi
    say "Installing $*"
    apt_log=$(mktemp)
    if apt_get install "$@" || apt_update_and_install "$@"; then
        rm -f "$apt_log"
    else
        tail -n 5 "$apt_log" >&2
        rm -f "$apt_log"
        return 1
    fi
}
# The package lists may be missing or outdated, and not every release has all packages.
apt_update_and_install() {
    apt_get update -o APT::Update::Error-Mode=any || return
    for package in "$@"; do
        shift
        if apt-cache show "$package" >/dev/null 2>&1; then
            set -- "$@" "$package"
        else
            say "There is no package $package for this system"
        fi
    done
    apt_get install "$@"
}
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$apt_log" 2>&1
}

# find_python [MODULE]: set $python to a Python >= 3.10 with MODULE.  $PYTHON, if
# set, is the only candidate.  Each candidate is run, since a pyenv shim may be on the
# path without a Python behind it.
find_python() {
    newest_first="python3.14 python3.13 python3.12 python3.11 python3.10"
    for python in ${PYTHON:-python3 $newest_first python}; do
        "$python" -c "import sys${1:+, $1}; sys.exit(sys.version_info < (3, 10))" \
            >/dev/null 2>&1 && return 0
    done
    return 1
}

# make_environment: create .venv, unless a working one exists.
make_environment() {
    if [ -e .venv/.tej-made ]; then
        # The programs in .venv contain the path of .venv: recreate .venv after a move.
        [ "$(cat .venv/.tej-made)" != "$PWD" ] || ! has_pip || return 0
        rm -rf .venv
    elif [ -e .venv ]; then
        has_pip || die ".venv has no pip, and was not created by this script: move it away"
        return 0
    fi

    find_python || die "tej needs Python 3.10 or newer: ${PYTHON:-none found on the PATH}"
    if ! find_python ensurepip; then
        # Debian and Ubuntu package the part of venv that installs pip separately.
        find_python
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$package" || :
    fi
    if find_python ensurepip; then
        module=venv
    elif find_python virtualenv; then
        module=virtualenv
    else
        die "Python's module venv is missing. On Debian and Ubuntu:
    sudo apt install $package"
    fi
    say "Creating a private environment in .venv, with $("$python" -V)"
    mkdir .venv
    printf '%s\n' "$PWD" >.venv/.tej-made
    "$python" -m $module .venv >&2
}
has_pip() { .venv/bin/python -m pip --version >/dev/null 2>&1; }

# environment WHAT: create .venv and install WHAT (. or .[dev]): this checkout of tej,
# editable, with its dependencies.
environment() {
    installed=.venv/.tej-installed$1
    # The dependencies are in pyproject.toml: while it is unchanged, .venv is current.
    wanted="$PWD $(cksum <pyproject.toml)"
    if [ -x .venv/bin/python ] && [ "$(cat "$installed" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    make_environment
    say "Installing tej and its dependencies into .venv"
    .venv/bin/python -m pip install --quiet --editable "$1" </dev/null
    printf '%s\n' "$wanted" >"$installed"
}

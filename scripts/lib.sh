# What quickstart and test share: sourced, with the checkout as the directory.
# shellcheck shell=sh

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

# as_root COMMAND...: fails, asking nothing, where there is no way to be root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}
can_be_root() { as_root true 2>/dev/null; }

# apt_install PACKAGE...: all that this release has.  Fails where there is no
# apt-get, no root, or no network.
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
# Where `apt-get update` never ran no package is known, and where that was long ago
# the old ones are; others a release never had.
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

# find_python [MODULE]: set python to one that is new enough, and has MODULE.
# $PYTHON, if set, is the only one looked at.  Asking each to run something
# leaves out what is only a name, such as the shims of pyenv.
find_python() {
    newest_first="python3.14 python3.13 python3.12 python3.11 python3.10"
    for python in ${PYTHON:-python3 $newest_first python}; do
        "$python" -c "import sys${1:+, $1}; sys.exit(sys.version_info < (3, 10))" \
            >/dev/null 2>&1 && return 0
    done
    return 1
}

# make_environment: .venv, if there is none that works here.
make_environment() {
    if [ -e .venv/.tej-made ]; then
        # The programs in it know where it was made: after a move, make it anew
        [ "$(cat .venv/.tej-made)" != "$PWD" ] || ! has_pip || return 0
        rm -rf .venv
    elif [ -e .venv ]; then
        has_pip || die ".venv has no pip, and is not from here: please move it away"
        return 0
    fi

    find_python || die "tej needs Python 3.10 or newer: ${PYTHON:-there is none on the PATH}"
    if ! find_python ensurepip; then
        # Debian and Ubuntu have Python without the half of venv that brings pip
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
    say "Making a private environment in .venv, with $("$python" -V)"
    mkdir .venv
    printf '%s\n' "$PWD" >.venv/.tej-made
    "$python" -m $module .venv >&2
}
has_pip() { .venv/bin/python -m pip --version >/dev/null 2>&1; }

# environment WHAT: .venv with what pip makes of WHAT, which is . or .[dev], that
# is tej as it stands here and what it needs.
environment() {
    installed=.venv/.tej-installed$1
    # What is needed stands in pyproject.toml: while that is the same, so is .venv
    wanted="$PWD $(cksum <pyproject.toml)"
    if [ -x .venv/bin/python ] && [ "$(cat "$installed" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    make_environment
    say "Installing tej and what it needs into .venv"
    .venv/bin/python -m pip install --quiet --editable "$1" </dev/null
    printf '%s\n' "$wanted" >"$installed"
}

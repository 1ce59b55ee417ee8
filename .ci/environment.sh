# Read by ./first-run and ./check: one environment ($VENV, by default .venv) with the versions of constraints.txt.

VENV=${AGENTFLEET_VENV:-.venv}

make_environment() {
    local python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "agentfleet needs Python 3.11 or newer; name one: PYTHON=python3.12 $0" >&2
        return 2
    fi
    [ -x "$VENV/bin/pip" ] || "$python" -m venv "$VENV"
}

# Does pip find a torch without CUDA here (some 200 MB instead of gigabytes)?
finds_cpu_torch() {
    case $(uname) in Darwin) return 0 ;; esac
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --dry-run --no-deps --ignore-installed \
        --report - -c constraints.txt torch 2>/dev/null | grep -q '"version": "[0-9.]*+cpu"'
}

# install EXTRAS: does nothing when that was done since pyproject.toml and constraints.txt changed.
install() {
    local stamp="$VENV/installed-$1"
    make_environment || return
    if [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt constraints.txt ]; then return 0; fi
    echo "installing agentfleet with its extras $1 into $VENV (about 500 MB)"
    if ! "$VENV/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("llama_cpp") is None)'; then
        echo "compiling llama.cpp, about 5 minutes, once (it needs a C and C++ compiler)."
        echo "With internet, upstream's prebuilt CPU wheels spare you that; stop this and call"
        echo "  PIP_EXTRA_INDEX_URL=https://abetlen.github.io/llama-cpp-python/whl/cpu $0"
    fi
    if ! CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)} \
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$1]"; then
        echo "the install failed: the reason stands above. llama.cpp needs a C and C++ compiler" >&2
        echo "(Debian: apt install build-essential; macOS: xcode-select --install). Then call $0 again." >&2
        return 1
    fi
    touch "$stamp"
    echo "installed"
}

# Read by ./first-run and ./check: one environment, .venv, with versions from constraints.txt.

make_environment() {
    local python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "agentfleet needs Python 3.11 or newer; name one: PYTHON=python3.12 $0" >&2
        return 2
    fi
    [ -x .venv/bin/pip ] || "$python" -m venv .venv
}

# install EXTRAS: does nothing when that was done since pyproject.toml and constraints.txt changed.
install() {
    local stamp=".venv/installed-$1"
    make_environment || return
    if [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt constraints.txt ]; then return 0; fi
    if ! .venv/bin/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("llama_cpp") is None)'; then
        echo "compiling llama.cpp, about 5 minutes, once (it needs a C and C++ compiler)."
        echo "With internet you may take upstream's prebuilt wheels instead: stop this, then"
        echo "  .venv/bin/pip install llama-cpp-python -c constraints.txt \\"
        echo "    --extra-index-url https://abetlen.github.io/llama-cpp-python/whl/cpu --prefer-binary"
        echo "and call this command again."
    fi
    CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)} \
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$1]" || return
    touch "$stamp"
}

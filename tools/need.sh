#!/usr/bin/env bash
# Sees to it that the programs are there that run beside hubs: tools/need.sh [zookeeper|haproxy|network|dns|python|clients]...
# On Debian and Ubuntu it installs what is missing, and nothing else; elsewhere it says what to do.
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
packages=()
elsewhere=()

has() { command -v "$1" >/dev/null; }

for needed in "$@"; do
    case $needed in
    zookeeper)
        if [ -z "${ZOOKEEPER_HOME:-}" ] && [ ! -f /usr/share/java/zookeeper.jar ]; then
            # The server as it comes with its library: no service, and no user for one.
            packages+=(libzookeeper-java)
            elsewhere+=("ZooKeeper: unpack 3.6 or later from https://zookeeper.apache.org/releases.html, and set ZOOKEEPER_HOME to its folder")
        fi
        if [ ! -x "${JAVA_HOME:-/none}/bin/java" ] && ! has java; then
            packages+=(default-jre-headless)
            elsewhere+=("Java: install 11 or later, and put java on the PATH or set JAVA_HOME")
        fi
        ;;
    haproxy)
        has haproxy || {
            packages+=(haproxy)
            elsewhere+=("HAProxy: install 2.4 or later, and put haproxy on the PATH")
        }
        ;;
    network)
        has ip || {
            packages+=(iproute2)
            elsewhere+=("iproute2: put ip on the PATH")
        }
        has nft || {
            packages+=(nftables)
            elsewhere+=("nftables: put nft on the PATH")
        }
        ;;
    dns)
        has dnsmasq || {
            packages+=(dnsmasq-base)
            elsewhere+=("dnsmasq: put dnsmasq on the PATH")
        }
        ;;
    python)
        # Debian has the module that makes environments, and what that needs, in a package of its own.
        if ! has python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            packages+=(python3-venv)
            elsewhere+=("Python: install 3.10 or later with its modules venv and ensurepip, and put python3 on the PATH")
        fi
        ;;
    clients)
        has node || {
            packages+=(nodejs)
            elsewhere+=("Node: install 18 or later, and put node on the PATH")
        }
        has curl || {
            packages+=(curl)
            elsewhere+=("curl: install it, and put curl on the PATH")
        }
        ;;
    *)
        echo "need.sh: $needed: not one of zookeeper, haproxy, network, dns, python, clients" >&2
        exit 2
        ;;
    esac
done

[ ${#packages[@]} -gt 0 ] || exit 0

if ! has apt-get; then
    printf 'Missing, and to be installed by you:\n' >&2
    printf '  %s\n' "${elsewhere[@]}" >&2
    exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
    # Asks for a password only where there is somebody to ask.
    if ! has sudo || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
        echo "Missing: ${packages[*]}. As root: apt-get install --no-install-recommends ${packages[*]}" >&2
        exit 1
    fi
    sudo=(sudo)
fi
echo "Installing ${packages[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$log" 2>&1
}
# The lists may be old, or none may be there.
install || { "${sudo[@]}" apt-get update -qq >"$log" 2>&1 && install; } || {
    cat "$log" >&2
    echo "need.sh: apt-get install ${packages[*]} failed, see above" >&2
    exit 1
}

#!/usr/bin/env bash
# Fills a folder with all that the container image holds: rootfs.sh BINARY FOLDER. Used by Containerfile and image.sh.
set -euo pipefail
binary=$1 root=$2

install -D -m 0755 "$binary" "$root/usr/bin/scim-operator"
# The libraries it is linked to and the loader, each where the loader looks for it.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do install -D -m 0755 "$library" "$root$library"; done
# The authorities that sign the certificates of identity providers (ca-certificates).
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
# A name for the user that it runs as, for what looks one up.
install -d "$root/etc"
echo 'scim:x:65532:65532::/:' >"$root/etc/passwd"
echo 'scim:x:65532:' >"$root/etc/group"
install -d -m 1777 "$root/tmp"
# Not the umask of whoever builds.
chmod 0644 "$root/etc/passwd" "$root/etc/group"
find "$root" -type d ! -path "$root/tmp" -exec chmod 0755 {} +

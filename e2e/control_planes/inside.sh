#!/bin/sh
# Runs a command as root of new user, mount, network and process namespaces:
#     inside.sh WHAT COMMAND...
# There every port is free, and names and certificates can be what a test needs. Where the system does not
# allow it, this prints why the tests of WHAT are left out and succeeds; with CI=true it fails.
set -eu
what=$1
shift
# The shell stays, as the first process: it reaps what others leave. Everything ends with it.
enter="unshare --user --map-root-user --mount --net --pid --fork --kill-child --mount-proc"
if reason=$($enter true 2>&1); then
    IN_NAMESPACES=1 exec $enter sh -c '"$@"; exit $?' sh "$@"
fi
echo "$what: left out, since this system does not let a user make namespaces (${reason:-no unshare})" >&2
[ "${CI:-}" != true ]

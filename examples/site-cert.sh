#!/bin/sh
# A certificate source: reads {"server_name": …, "site": …}, answers with a certificate of an authority of its own.
# Clients that trust $DIRECTORY/ca.pem trust all of them. Names outside of example.test get none.
set -eu
umask 077
DIRECTORY=${SITE_CERT_DIRECTORY:-/var/lib/site-cert}
name=$(sed -n 's/.*"server_name":"\([a-z0-9.-]*\)".*/\1/p')
case $name in
example.test | *.example.test) ;;
*)
    echo '{}'
    exit 0
    ;;
esac
mkdir -p "$DIRECTORY"
cd "$DIRECTORY"
if ! [ -e ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj "/CN=site-cert example authority" -keyout ca.key -out ca.new 2>/dev/null
    mv ca.new ca.pem
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
    -keyout "$work/key" -out "$work/request" 2>/dev/null
printf 'subjectAltName=DNS:%s\n' "$name" >"$work/names"
openssl x509 -req -in "$work/request" -CA ca.pem -CAkey ca.key -days 7 -extfile "$work/names" \
    -out "$work/certificate" 2>/dev/null
# PEM as a JSON string: its only special characters are line ends.
json() { awk '{ printf "%s\\n", $0 }' "$1"; }
printf '{"certificate":"%s","key":"%s","lifetime":3600}\n' "$(json "$work/certificate")" "$(json "$work/key")"

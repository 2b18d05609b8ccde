#!/bin/sh
# Makes the certificates that the tests of https upstreams use. They are good for nothing else: the key of the authority
# is thrown away, and its names end in .test.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# certificate NAME FROM TO EXTENSION...
certificate() {
  name=$1 from=$2 to=$3
  shift 3
  printf '%s\n' 'subjectKeyIdentifier=hash' 'authorityKeyIdentifier=keyid' "$@" >"$work/$name.ext"
  openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$name.key"
  openssl req -new -key "$work/$name.key" -subj "/CN=$name" -out "$work/$name.csr"
  : >"$work/index.txt"
  signer="-cert $work/ca.crt -keyfile $work/ca.key"
  [ "$name" != ca ] || signer="-selfsign -keyfile $work/ca.key"
  # shellcheck disable=SC2086
  openssl ca -batch -notext -config /dev/stdin $signer -extfile "$work/$name.ext" -startdate "$from" -enddate "$to" \
    -in "$work/$name.csr" -out "$work/$name.crt" 2>/dev/null <<EOF
[ca]
default_ca = one
[one]
database = $work/index.txt
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
EOF
}

server() {
  certificate "$1" 20240101000000Z "$2" 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
    'extendedKeyUsage=serverAuth' "subjectAltName=$3"
  cat "$work/$1.crt" "$work/$1.key" >"$1.pem"
}

certificate ca 20240101000000Z 21240101000000Z 'basicConstraints=critical,CA:TRUE' 'keyUsage=critical,keyCertSign,cRLSign'
cp "$work/ca.crt" ca.pem
server good 21240101000000Z DNS:upstream.test,IP:127.0.0.1
server other 21240101000000Z DNS:other.test
server expired 20240201000000Z DNS:upstream.test

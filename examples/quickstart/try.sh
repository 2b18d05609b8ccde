#!/bin/sh
# Asks the library's API through `gateway dev`, as a user and as an API key. See README.md.
set -eu
data=${DATA:-.gateway-dev/quickstart}
url=${URL:-http://127.0.0.1:8080/v4/gql}
[ -r "$data/credentials.json" ] || { echo 'Start the gateway first; see README.md beside this script.' >&2; exit 1; }

# The tokens that `gateway dev` made: a user's, another user's id, and a key's that holds LOANS_READ alone.
set -- $(python3 - "$data/credentials.json" <<'END'
import json, sys

kept = json.load(open(sys.argv[1], encoding="utf-8"))
print(kept["users"][0]["token"], kept["users"][1]["id"])
print(*(key["token"] for key in kept["keys"] if key["scopes"] == ["LOANS_READ"]))
END
)
user=$1 other=$2 key=$3

ask() {
  printf '\n# %s\n# %s\n' "$1" "$3"
  body=$(printf '%s' "$3" | sed 's/"/\\"/g')
  curl -sS "$url" -H "Authorization: Bearer $2" -H 'Content-Type: application/json' -d "{\"query\": \"$body\"}"
  echo
}

ask 'Anybody with a token reads the catalogue.' "$user" '{ media { title } }'
ask 'A user reads its own data, and need not say who it is.' "$user" '{ user { id name } }'
ask 'The same user asks for the data of another one: refused.' "$user" "{ user(user_id: \"$other\") { id name } }"
ask 'Whoever has borrowed a book is for keys only: refused.' "$user" '{ media { title loans { user { name } } } }'
ask 'An API key with LOANS_READ may.' "$key" '{ media { title loans { user { name } } } }'
ask 'It does not hold READERS_DELETE: refused.' "$key" "mutation { delete_user(user_id: \"$other\") }"
ask 'A PIN is for nobody, under no name: refused.' "$key" '{ overdue { user { x: pin } } }'

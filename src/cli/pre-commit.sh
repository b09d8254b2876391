#!/bin/sh
# The pre-commit hook: lint, run from pre-commit's own clone of this repository. Its dependencies are fetched once for each
# version. (Of language "node" it cannot be: npm builds nothing that it installs globally from Git, npm/cli#8440.)
set -eu
home=$(cd "$(dirname "$0")/../.." && pwd)
if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 19) ? 0 : 1)'; then
  echo "unified-rbac lint needs Node 22.19 or newer on the PATH: https://nodejs.org" >&2
  exit 2
fi
# npm writes this file when it is done.
if [ ! -f "$home/node_modules/.package-lock.json" ]; then
  (cd "$home" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
fi
exec node "$home/src/main.ts" lint "$@"

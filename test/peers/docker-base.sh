#!/usr/bin/env bash
# Makes a small image of this machine's own programs, for tests of the container where no registry of images can be
# reached: a shell, the file programs that a Dockerfile calls, a given Node.js, npm, the certificates that this machine
# trusts, and a user `node` as the official image has one. The image never takes the name of an official one.
#
#   test/peers/docker-base.sh TAG NODE_BINARY [NPM_FOLDER]
set -euo pipefail

tag=$1
node=$(readlink -f "$2")
# Where the command leads to: `npm root --global` goes by the Node.js that happens to be first on the path.
npm_folder=${3:-$(dirname "$(dirname "$(readlink -f "$(type -P npm)")")")}
# shellcheck source=test/peers/docker-root.sh
. "$(dirname "$0")/docker-root.sh"

mkdir -p "$root"/usr/local/{lib/node_modules,etc} "$root"/{etc/ssl/certs,home/node}
copy_programs sh cat chmod chown cp env getconf id kill ln ls mkdir mv rm sleep uname
copy_program "$node" /usr/local/bin/node
# The rest of the C library, which packages with binaries of their own may load.
libraries=$(dirname "$(ldd "$node" | grep -o '/[^ ]*/libc\.so\.[0-9]*')")
for library in "$libraries"/lib{rt,resolv,util,anl}.so.[0-9]; do
  cp -L "$library" "$root/usr${libraries#/usr}/"
done
cp -R "$npm_folder" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"

printf 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnode:x:1000:\n' >"$root/etc/group"
chown -R 1000:1000 "$root/home/node" 2>/dev/null || true
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  echo 'cafile=/etc/ssl/certs/ca-certificates.crt' >"$root/usr/local/etc/npmrc"
fi

import_root "$tag" 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin' 'CMD ["node"]' "LABEL node=$("$node" --version)"
echo "$tag: Node.js $("$node" --version), npm $(node -p 'require(process.argv[1]).version' "$npm_folder/package.json")"

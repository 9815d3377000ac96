#!/usr/bin/env bash
# Sourced by docker-base.sh and docker-peers.sh: an empty root file system in $root, laid out as on any current Linux, and
# what puts programs of this machine into it, each library where the loader looks for it.

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/usr/{bin,sbin,lib,lib64,local/bin} "$root"/{etc,tmp,root}
ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root/"
chmod 1777 "$root/tmp"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

# copy_libraries FILE: those that it loads.
copy_libraries() {
  local library
  for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
    # /lib and /lib64 are links into /usr.
    mkdir -p "$root/usr$(dirname "${library#/usr}")"
    [ -e "$root/usr${library#/usr}" ] || cp -L "$library" "$root/usr${library#/usr}"
  done
}

# copy_program FILE PATH
copy_program() {
  mkdir -p "$root$(dirname "$2")"
  cp -L "$1" "$root$2"
  copy_libraries "$1"
}

# copy_programs NAME...: into /usr/bin; what this machine has not is left out.
copy_programs() {
  local program path
  for program in "$@"; do
    if path=$(type -P "$program"); then copy_program "$path" "/usr/bin/$program"; fi
  done
}

# copy_folder FOLDER [PATH]: what its links lead to becomes part of it; links that lead nowhere, and what only
# developers read, are left out.
copy_folder() {
  local target="$root${2:-$1}" file
  mkdir -p "$target"
  find -L "$1" -type f -not -path '*/jmods/*' -not -path '*/man/*' -not -path '*/legal/*' -printf '%P\0' |
    tar -C "$1" -h --null -T - -c | tar -C "$target" -x
  while IFS= read -r file; do copy_libraries "$file"; done < <(find "$target" -type f \( -perm -u+x -o -name '*.so*' \))
}

# import_root TAG CHANGE...: makes the image.
import_root() {
  local tag=$1 change changes=()
  shift
  for change in "$@"; do changes+=(--change "$change"); done
  tar -C "$root" -c . | docker import "${changes[@]}" - "$tag" >/dev/null
}

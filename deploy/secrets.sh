#!/bin/sh
# Creates the secrets of docker-compose.yml; existing ones are kept.
# Usage: sh deploy/secrets.sh [FOLDER]
set -eu
umask 077

folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
# Compose mounts the files with their permissions, and the users of the containers must be able to
# read them. So the files are readable for all users; the folder, which is not mounted, is not.
chmod 700 "$folder"

make() { # FILE; the content is standard input
  if [ ! -e "$folder/$1" ]; then
    cat > "$folder/$1.new"
    chmod 444 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
    echo "created $folder/$1"
  fi
}

random() {
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

random | make redis_password
random | make grafana_admin_password
head -c 32 /dev/urandom | base64 | make webhook_secret

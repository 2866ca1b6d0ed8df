#!/bin/sh
# Some platforms, Fly among them, mount a volume that belongs to root.
set -e
if [ "$(id -u)" = 0 ]; then
  chown callbridge:callbridge /data
  exec setpriv --reuid=callbridge --regid=callbridge --init-groups --no-new-privs "$@"
fi
exec "$@"

#!/bin/sh
# Starts nginx in its container, with deploy/nginx.conf changed for it: one instance named `gateway`, and logs on stdout.
set -eu
# A new container of the gateway has a new address. nginx before 1.27.3 would resolve the name at its start only.
resolver=$(sed -n 's/^nameserver //p' /etc/resolv.conf | head -n 1)
sed -e 's/server 127\.0\.0\.1:8000 /server gateway:8000 resolve /' \
    -e '/server 127\.0\.0\.1:8001 /d' \
    -e "s/zone amux 64k;/&\n    resolver $resolver valid=2s;/" \
    -e 's#/var/log/nginx/amux\.log#/dev/stdout#' \
    /amux/nginx.conf >/etc/nginx/conf.d/default.conf
# The image's own setting allows few connections, and a waiting call needs two.
sed -i -e 's/worker_connections .*/worker_connections 8192;/' /etc/nginx/nginx.conf
exec nginx -g 'daemon off; worker_rlimit_nofile 32768;'

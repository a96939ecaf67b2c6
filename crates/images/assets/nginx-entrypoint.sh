#!/bin/sh
# Before nginx starts: runs what is mounted at /docker-entrypoint.d and fills the environment into
# /etc/nginx/templates/*.template, each of which becomes a file in /etc/nginx/conf.d.
set -e

fill() {
    awk '{
        done = ""; rest = $0
        while (match(rest, /\$\{[A-Za-z_][A-Za-z_0-9]*\}|\$[A-Za-z_][A-Za-z_0-9]*/)) {
            word = substr(rest, RSTART, RLENGTH); name = word; gsub(/[${}]/, "", name)
            done = done substr(rest, 1, RSTART - 1) (name in ENVIRON ? ENVIRON[name] : word)
            rest = substr(rest, RSTART + RLENGTH)
        }
        print done rest
    }'
}

if [ "$1" = nginx ]; then
    for script in /docker-entrypoint.d/*; do
        case "$script" in
            *.envsh) [ ! -x "$script" ] || . "$script" ;;
            *.sh) [ ! -x "$script" ] || "$script" ;;
        esac
    done
    for template in /etc/nginx/templates/*.template; do
        [ ! -f "$template" ] || fill <"$template" >"/etc/nginx/conf.d/$(basename "$template" .template)"
    done
fi
exec "$@"
